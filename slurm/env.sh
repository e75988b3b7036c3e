# shellcheck shell=bash
# Settings of your site, in this one place. The job scripts beside this file read it; `clinical-ie ... --submit` puts its text into the job,
# so that what waits in the queue does not change any more. By hand: `. slurm/env.sh && sbatch slurm/train.sbatch ...`.

# --- the queue: what sbatch reads where neither its command line nor the job says it (#SBATCH lines hold no variables) -----------------
#export SBATCH_ACCOUNT=my_project
#export SBATCH_PARTITION=gpu
#export SBATCH_QOS=normal
#export SBATCH_CONSTRAINT=a100

# --- the program: a virtual environment, modules, or a container (apptainer.def) ---------------------------------------------------------
#module purge
#module load python/3.11 cuda/12.8
#. "$HOME/venvs/clinical_ie/bin/activate"
# shellcheck disable=SC2034 # the scripts use it
clinical_ie=(clinical-ie)
#clinical_ie=(apptainer exec --nv --bind "$PWD,/data" "$HOME/clinical_ie.sif" clinical-ie)

# --- caches: on a path that all nodes see, filled on a node with a network (see docs/slurm.md); jobs never ask a network ------------------
#export HF_HOME=/shared/my_project/huggingface
#export XDG_CACHE_HOME=/shared/my_project/cache
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# A folder on each node's own disk. When set, HF_HOME is copied there once per node before the processes start, and removed in the end. On a
# job that is already back in the queue or being cancelled SLURM starts no step, so its copies remain on all nodes but the first: the next
# job of yours that copies to such a node removes what was left there.
#node_local=${TMPDIR:-/tmp}

# --- processes -----------------------------------------------------------------------------------------------------------------------------
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export PYTHONUNBUFFERED=1 # lines of the log come when they are written
ulimit -c 0               # a killed rank leaves no core of the size of its memory
# What compilers keep: many ranks in one folder of a network file system disturb each other.
export TRITON_CACHE_DIR=${TMPDIR:-/tmp}/triton-${SLURM_JOB_ID:-$$} TORCHINDUCTOR_CACHE_DIR=${TMPDIR:-/tmp}/inductor-${SLURM_JOB_ID:-$$}
# Networks with several interfaces: the one that nodes reach each other by. In containers whose ranks freeze at the first step, see docs/slurm.md.
#export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
#export NCCL_P2P_DISABLE=1

# --- nothing below needs editing -----------------------------------------------------------------------------------------------------------
if [ -n "${SLURM_JOB_ID:-}" ]; then
  # Left over from torchrun, or from a job that this one was submitted from: Lightning would believe them.
  unset RANK LOCAL_RANK GROUP_RANK NODE_RANK WORLD_SIZE LOCAL_WORLD_SIZE TORCHELASTIC_RUN_ID
  # Ranks meet at the first node of the job; a port of this job's own, as several may share a node.
  if ! hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST") || [ -z "$hosts" ]; then
    echo "clinical-ie: scontrol does not tell the nodes of job $SLURM_JOB_ID (nodes: ${SLURM_JOB_NODELIST:-none})" >&2
    exit 1
  fi
  MASTER_ADDR=${hosts%%$'\n'*} # not by `| head -n 1`, whose end may be the end of scontrol, and under pipefail a failure
  MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000))
  export MASTER_ADDR MASTER_PORT
  # srun has not taken the CPUs of a task from sbatch since 22.05.
  export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
  # When a rank dies, the others end two minutes later instead of waiting for it. Not at once: ranks that stop on purpose save first.
  export SLURM_KILL_BAD_EXIT=0 SLURM_WAIT=120
  # The shell outlives the signals at the end of a job's time, so that its exit status is that of srun.
  trap : TERM USR1
  trap finish EXIT
fi

# Behind srun, whose status stays that of the job. A run that was stopped (75; 138 and 143: by a signal that came before it could listen) has
# mostly gone back into the queue by itself; in a container there is no scontrol, and the script does it. A job that is being cancelled is
# COMPLETING by now, and stays cancelled; so is one whose time is over, which goes back. So does one that has failed while a node of it does not
# answer: SLURM itself would put it back, but finds a node DOWN only after SlurmdTimeout, mostly 300 s, and the other ranks end before.
finish() {
  # One task of an array has the id of the whole array, which would be requeued with it: 12_3 is that task.
  local status=$? lost=' State=[^ ]*(NOT_RESPONDING|DOWN|\*)' shown job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
  job=${job:-$SLURM_JOB_ID}
  # First the copies: on a job that is back in the queue no step starts any more. Not for long, as a node that is lost does not answer, and
  # what stops the job may leave it seconds only.
  if [ -n "${staged:-}" ]; then
    timeout -k 2 10 srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 rm -rf -- "$staged"
    rm -rf -- "$staged" # this node's, where no step has started
  fi
  if [[ $status =~ ^(75|138|143)$ || ($status != [02] && $(scontrol show node "$SLURM_JOB_NODELIST" --oneliner) =~ $lost) ]] &&
    shown=$(scontrol show job "$job" --oneliner) &&
    [[ $shown =~ (" JobState=RUNNING "|" Reason=TimeLimit ") && $shown == *" Requeue=1 "* ]]; then
    scontrol requeue "$job"
  fi
}

# Once per node, before any rank starts: copy the caches to the node's disk. Does nothing where node_local is not set. Its status is that of
# the copying, by which finish() tells a job that was stopped meanwhile from one whose disk is full: hand it on (`stage_caches || exit`).
stage_caches() {
  if [ -n "${node_local:-}" ] && [ -n "${HF_HOME:-}" ]; then
    staged=$node_local/huggingface-$SLURM_JOB_ID
    # Copies of yours whose job has no process on this node are left over. Those of the last minutes stay: between two steps there is none.
    # shellcheck disable=SC2016 # what is in it is the inner shell's
    srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 bash -c '
      for old in "$2"/huggingface-*; do
        if [ -O "$old" ] && [ -n "$(find "$old" -maxdepth 0 -mmin +10)" ] &&
          ! grep -qsz "^SLURM_JOB_ID=${old##*-}\$" /proc/[0-9]*/environ; then
          rm -rf -- "$old"
        fi
      done
      rm -rf -- "$3" && mkdir -p "$3" && cp -R "$1/." "$3/" && touch "$3"' _ "$HF_HOME" "$node_local" "$staged" || return
    export HF_HOME=$staged
  fi
}
