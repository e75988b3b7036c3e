"""What a command does when Lightning is done: scores, what they cost, and where everything is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from clinical_ie.callbacks.board import best_metrics, hyper_parameters
from clinical_ie.callbacks.checkpoints import Checkpoints
from clinical_ie.callbacks.mixture import Mixture
from clinical_ie.callbacks.predictions import PredictionWriter
from clinical_ie.callbacks.run_record import RunRecord
from clinical_ie.callbacks.split_facts import SplitFacts
from clinical_ie.callbacks.throughput import Throughput
from clinical_ie.commands.run_cost import run_cost
from clinical_ie.commands.run_directory import RunDirectory
from clinical_ie.reports.prediction_folder import folder_of, set_all_aside
from clinical_ie.reports.results import Results
from clinical_ie.reports.run_tables import show_run
from clinical_ie.strategies.checkpoint import Checkpoint


class ResultsCLI(LightningCLI):
    """Writes ``results.json`` after each subcommand and says what came out."""

    directory: RunDirectory
    settings: Mapping[str, Any]
    throughput: Throughput
    record: RunRecord
    split_facts: SplitFacts
    mixture: Mixture

    @property
    def _dry(self) -> bool:
        """Whether this is Lightning's ``fast_dev_run``: a batch of every part, nothing is scored or written."""
        return bool(self.settings.get("trainer.fast_dev_run"))

    def after_fit(self) -> None:
        """Note what the run cost; score the best checkpoint on the test split."""
        if self._dry:
            if self._get(self.config, "test_after_fit"):
                self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
            self._show()
            return
        if self.trainer.is_global_zero:
            path = self.directory.results
            results = Results.load(path)
            results.run, results.splits = run_cost(self.trainer, self.model, self.throughput, self.record, self.mixture, self.directory), {}
            results.run |= self.split_facts.facts
            results.run["seed"] = self._get(self.config, "seed_everything")
            results.write(path)
            for task in self.datamodule.tasks:  # with the scores: both are of the model before
                if (test := folder_of(self.directory.path / "predictions" / "test", task, self.datamodule.tasks)).is_dir():
                    set_all_aside(test)
        self._score()
        self._note_hyper_parameters()

    def _note_hyper_parameters(self) -> None:
        """Put what was tried and how well it went into TensorBoard's table."""
        logger = self.trainer.logger
        if self.trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
            best = cast("Checkpoints", self._get(self.config_init, "checkpoints"))
            score = None if best.best_model_score is None else float(best.best_model_score)
            metrics = best_metrics([(str(best.monitor), score)], Results.load(self.directory.results).splits.get("test", {}))
            logger.log_hyperparams(hyper_parameters(self.settings), metrics | {"steps": self.trainer.global_step})
            logger.finalize("success")  # this opened a file of its own, whose thread would write when it likes

    def _score(self) -> None:
        """Score the best state of a trained run, and show what there is."""
        if self._get(self.config, "test_after_fit"):
            self.trainer.test(
                self.model, datamodule=self.datamodule, ckpt_path=str(self.directory.best()), weights_only=True, verbose=False
            )
            self._note_scored("test", self.directory.best())
        self._show()
        if self.trainer.is_global_zero:
            print(f"Run:             {self.directory.path}/  (config.yaml, checkpoints/, tensorboard/)")
            print(f"Scores:          {self.directory.results}")
            if self._get(self.config, "test_after_fit"):
                print(f"Annotated notes: {self.directory.path / 'predictions' / 'test'}/", flush=True)

    def _note_scored(self, part: str, path: str | Path) -> None:
        """Write down which checkpoint was used: the run that wrote it, and the step."""
        if self.trainer.is_global_zero and not self._dry:
            results, checkpoint = Results.load(self.directory.results), Checkpoint(path)
            used = {"fingerprint": checkpoint.fingerprint, "step": checkpoint.step}
            results.run["checkpoints"] = dict(results.run.get("checkpoints", {})) | {part: used}
            results.write(self.directory.results)

    def after_test(self) -> None:
        """Print the scores and where they and the annotated notes are."""
        self._note_scored("test", self._get(self.config, "ckpt_path"))
        self._show()
        if self.trainer.is_global_zero:
            print(f"Scores:          {self.directory.results}")
            print(f"Annotated notes: {self.directory.path / 'predictions' / 'test'}/", flush=True)

    def after_validate(self) -> None:
        """Print the scores and where they are."""
        self._note_scored("dev", self._get(self.config, "ckpt_path"))
        self._show()
        if self.trainer.is_global_zero:
            print(f"Scores:          {self.directory.results}", flush=True)

    def after_predict(self) -> None:
        """Say what was found and where it went."""
        if not self._get(self.config, "output"):
            self._note_scored("predict", self._get(self.config, "ckpt_path"))
        for writer in self.trainer.callbacks:  # type: ignore[attr-defined]
            rows = writer.written.items() if isinstance(writer, PredictionWriter) else ()
            for task, found in [(task, one) for task, corpora in rows for one in corpora]:
                links = f", {found.links:,} links" if self.datamodule.tasks[task].finds == "relations" else ""
                documents = "1 document" if found.documents == 1 else f"{found.documents:,} documents"
                print(f"{found.corpus}: {documents}, {found.mentions:,} mentions{links} in {found.folder}/")
                print(f"  beside it: {found.folder.name}.jsonl (JSON lines), {found.folder.name}.html (a page to look at)", flush=True)

    def _show(self) -> None:
        if self.trainer.is_global_zero and self._dry:
            print("fast_dev_run: a batch of every part went through; nothing was scored or written")
        elif self.trainer.is_global_zero:
            show_run(Results.load(self.directory.results))
