#!/usr/bin/env bash
# A SLURM of its own for tests: one controller, and nodes with a network, a host name and a loopback each, so that a job which takes
# 127.0.0.1 for another node fails as it would on a real cluster. `tests/slurm/cluster.py` starts it as the first process of new
# namespaces, whose end is the end of all of it; nothing is written outside of its folder.
#
# usage: unshare --mount --uts --net --pid --fork --kill-child --mount-proc bash cluster.sh FOLDER NODES CPUS MEGABYTES
set -euo pipefail
folder=$1 nodes=$2 cpus=$3 megabytes=$4
subnet=10.77.0
cd "$folder"
mkdir -p boot etc run log state spool
mount --make-rprivate /
hostname control
{
  echo "127.0.0.1 localhost"
  echo "$subnet.1 control"
  for ((n = 1; n <= nodes; n++)); do echo "$subnet.$((10 + n)) node$n"; done
} >etc/hosts
mount --bind etc/hosts /etc/hosts

# Times are the shortest that SLURM takes: cred_expire (at least 5 s) is also how long a requeued job waits.
cat >etc/slurm.conf <<CONF
ClusterName=tests
SlurmctldHost=control($subnet.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/run/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=30
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=$((megabytes / cpus))
EnforcePartLimits=ALL
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
MinJobAge=86400
NodeName=node[1-$nodes] NodeAddr=$subnet.[11-$((10 + nodes))] CPUs=$cpus Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=$megabytes
PartitionName=main Nodes=ALL Default=YES PriorityTier=10 PreemptMode=OFF DefaultTime=20
PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=120 DefaultTime=20
CONF
export SLURM_CONF=$folder/etc/slurm.conf

# --force: the folder of a test is nobody else's
(umask 077 && head -c 1024 /dev/urandom >etc/munge.key)
munged --force --socket="$folder/run/munge.socket" --key-file="$folder/etc/munge.key" --pid-file="$folder/run/munged.pid" \
  --log-file="$folder/log/munged.log" --seed-file="$folder/run/munged.seed"

ip link set lo up
ip link add bridge type bridge
ip addr add "$subnet.1/24" dev bridge
ip link set bridge up
slurmctld
for ((n = 1; n <= nodes; n++)); do
  mkdir -p "spool/node$n"
  # shellcheck disable=SC2016 # the inner shell's variables
  unshare --mount --uts --net bash -euc '
    until ip link set eth0 up; do sleep 0.05; done 2>/dev/null
    ip link set lo up
    ip addr add "$2/24" dev eth0
    hostname "$1"
    while :; do
      slurmd -D -N "$1" || true
      until [ -e "boot/$1" ]; do sleep 0.2; done # killed, with all that ran on it, until somebody switches it on again
      rm "boot/$1"
    done' _ "node$n" "$subnet.$((10 + n))" &
  while [ "$(readlink "/proc/$!/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
  ip link add "node$n" type veth peer name eth0 netns $!
  ip link set "node$n" master bridge up
done
until [ "$(sinfo --noheader --Node --partition=main --states=idle | wc -l)" = "$nodes" ]; do sleep 0.2; done
touch ready
wait # for the nodes, which do not end; a job that lost its parents is reaped here
