"""The loop: steps, averages, evaluations, state; on one process or on many through accelerate."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ivit_onnx.errors import TrainingError
from ivit_onnx.models import Twin
from ivit_onnx.options.training import Options
from ivit_onnx.training.data import Plan, evaluation_batches, loader_errors, mixup, seeded, training_batches
from ivit_onnx.training.evaluation import (
    Agreement,
    Batches,
    Score,
    agreement,
    evaluate,
    floating_logits,
    integer_logits,
    simulated_logits,
)
from ivit_onnx.training.loss import total_loss
from ivit_onnx.training.metrics import Metrics
from ivit_onnx.training.optimizer import make_optimizer, set_rate
from ivit_onnx.training.output import MODEL, open_folder, write_model
from ivit_onnx.training.progress import Bar, bar
from ivit_onnx.training.report import TrainReport
from ivit_onnx.training.start import Start, open_start
from ivit_onnx.training.state import load_state, save_state

__all__ = ["train"]


def train(options: Options, *, resume: bool = False, progress: bool = False) -> TrainReport:
    """Train as the options say and write the checkpoint, state and metrics to the folder `options.output`.

    With `resume`, a run that was interrupted goes on from its last saved state; what it computes is what it would have
    computed without the interruption. `progress` shows bars on standard error.

    Raises:
        IvitError: something the user gave cannot be used; see the classes.
    """
    try:
        accelerator = Accelerator(cpu=options.cpu)
    except (OSError, RuntimeError, ValueError) as error:  # what torchrun sets is wrong, or a process is missing
        reason = " ".join(str(error).split())
        raise TrainingError(f"cannot start the processes, see RANK, WORLD_SIZE and the like: {reason}") from None
    folder = Path(options.output)
    if accelerator.is_main_process:
        open_folder(folder, resume=resume)
    accelerator.wait_for_everyone()
    saved = load_state(folder) if resume else None
    if saved is not None:
        options.check_same(saved[1])
    torch.manual_seed(options.seed)
    with accelerator.main_process_first():
        start = open_start(options)
    trainer = _Trainer(options, start, accelerator, folder, None if saved is None else saved[0])
    with loader_errors(), trainer.metrics or nullcontext(), bar(progress and accelerator.is_main_process) as shown:
        trainer.fit(shown)
        return trainer.finish()


class _Trainer:
    """One run. Attributes that change: `step`, the steps done, and what `state` has."""

    def __init__(
        self, options: Options, start: Start, accelerator: Accelerator, folder: Path, saved: dict[str, Any] | None
    ) -> None:
        from timm.utils.model_ema import ModelEmaV3

        self.options, self.start, self.accelerator, self.folder = options, start, accelerator, folder
        self.device: torch.device = accelerator.device
        self.plan = Plan(
            len(start.train),
            options.epochs,
            options.batch_size,
            options.accumulate,
            accelerator.num_processes,
            options.seed,
        )
        self.network = start.network.to(self.device)
        self.teacher = None if start.teacher is None else start.teacher.to(self.device)
        self.optimizer = make_optimizer(self.network, options)
        self.ema = None
        if options.ema:
            self.ema = ModelEmaV3(self.network, options.ema, use_warmup=True, warmup_power=3 / 4, exclude_buffers=True)
        self.step, self.seconds, self.loss, self.losses = 0, 0.0, 0.0, 0
        self.before: dict[str, float] = {}
        if saved is not None:
            self.load(saved)
        self.unreported = torch.zeros((), device=self.device)
        self.model = accelerator.prepare(self.network)
        self.mixup = mixup(options, start.classes)
        self.metrics = Metrics(folder, self.step) if accelerator.is_main_process else None

    @property
    def evaluated(self) -> torch.nn.Module:
        """The network that is evaluated and written: the moving average, if there is one."""
        network = self.network if self.ema is None else self.ema.module
        if isinstance(network, Twin):
            network.settle_scales()
        return network

    def fit(self, shown: Bar) -> None:
        """The steps from the present one to the last."""
        if self.step == 0 and not self.before:
            self.before = self.score_start()
        plan, options, process = self.plan, self.options, self.accelerator.process_index
        shown.begin(plan.steps, self.step)
        batches = iter(training_batches(self.start.train, self.start.preprocess, options, plan, self.step, process))
        timed, measured = time.perf_counter(), self.step
        while self.step < plan.steps:
            rate = set_rate(self.optimizer, self.step, plan.steps, options)
            with seeded(options.seed, 3, self.step, process):
                self.take_step([next(batches) for _ in range(options.accumulate)])
            self.step += 1
            ended = self.step % plan.steps_per_epoch == 0
            report, save = self.step % options.log_every == 0 or ended, self.step % options.save_every == 0 or ended
            if not (report or save):
                continue
            self.collect_loss()
            now = time.perf_counter()
            self.seconds += now - timed
            speed = (self.step - measured) * options.batch_size / max(now - timed, 1e-9)
            if report:
                values = {"lr": rate, "loss": self.loss / self.losses, "images_per_second": speed}
                self.loss, self.losses = 0.0, 0
                if ended:
                    score = self.score()
                    values |= {"val_loss": score.loss, "val_accuracy": score.accuracy}
                if self.metrics is not None:
                    self.metrics.write(self.step, self.step / plan.steps_per_epoch, **values)
                shown.report(self.step, values)
            if save:
                self.save(model=ended)
            timed, measured = time.perf_counter(), self.step

    def take_step(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        """One step of the optimizer from `accumulate` batches, the mean gradient over them and over all processes."""
        options = self.options
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(int(torch.randint(2**31, ())))
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        for index, batch in enumerate(batches):
            images, target = (tensor.to(self.device, non_blocking=True) for tensor in batch)
            if self.mixup is not None:
                images, target = self.mixup(images, target)
            last = index == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                with torch.no_grad(), self.lower_precision():
                    taught = None if self.teacher is None else self.teacher(images)
                with self.lower_precision() if options.floating else nullcontext():
                    logits = self.model(images)
                loss = total_loss(logits.float(), target, taught, options)
                self.accelerator.backward(loss / len(batches))
            self.unreported += loss.detach() / len(batches)
        if options.clip_grad:
            self.accelerator.clip_grad_norm_(self.network.parameters(), options.clip_grad)
        self.optimizer.step()
        self.losses += 1
        if self.ema is not None:
            self.ema.update(self.network, step=self.step + 1)

    def lower_precision(self) -> Any:
        """bfloat16 for floating-point networks; a twin's integers would not survive it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.amp)

    def total(self, tensor: Tensor) -> Tensor:
        """Sum over all processes."""
        summed: Tensor = self.accelerator.reduce(tensor, "sum")
        return summed

    def collect_loss(self) -> None:
        """Add the losses since the last time, the mean over all processes, to those to be reported."""
        self.loss += float(self.total(self.unreported.clone())) / self.accelerator.num_processes
        self.unreported.zero_()
        if not torch.isfinite(torch.tensor(self.loss)):
            raise TrainingError(f"the loss is {self.loss} at step {self.step}; lower --lr or --scale-lr")

    def batches(self) -> Batches:
        """The part of the evaluation set of this process."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        size = min(self.plan.share, 100)
        return evaluation_batches(self.start.val, self.start.preprocess, size, self.options.workers, process, processes)

    def score_start(self) -> dict[str, float]:
        """Accuracy before training: of the floating-point network, and of the integers it was calibrated to."""
        found = {}
        if self.start.reference is not None:
            logits = floating_logits(self.start.reference.to(self.device), self.start.preprocess)
            found["float"] = evaluate(logits, self.batches(), self.device, self.total).accuracy
        if isinstance(self.network, Twin):
            found["integers"] = evaluate(integer_logits(self.network), self.batches(), self.device, self.total).accuracy
        return found

    def score(self) -> Score:
        """How good the evaluated network is by the training forward, which is fast."""
        network = self.evaluated
        logits = (
            simulated_logits(network) if isinstance(network, Twin) else floating_logits(network, self.start.preprocess)
        )
        return evaluate(logits, self.batches(), self.device, self.total)

    def save(self, *, model: bool) -> None:
        """Write the state, and the checkpoint if asked to."""
        if self.accelerator.is_main_process:
            if model:
                write_model(self.folder, self.evaluated, self.start.preprocess)
            save_state(self.folder, self.state(), self.options.to_json())
        self.accelerator.wait_for_everyone()

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "loss": [self.loss, self.losses],
            "before": self.before,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take a saved state. Raises TrainingError when it is of another network."""
        try:
            self.step, self.seconds, self.before = state["step"], state["seconds"], state["before"]
            self.loss, self.losses = state["loss"]
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.module.load_state_dict(state["ema"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split()[:20])
            raise TrainingError(
                f"the saved state in {self.folder} is of another network or damaged ({reason})"
            ) from None

    def finish(self) -> TrainReport:
        """Write the checkpoint and measure it: the exported integers where it is quantised."""
        network, compared = self.evaluated, None
        if self.accelerator.is_main_process:
            write_model(self.folder, network, self.start.preprocess)
        if isinstance(network, Twin):
            score, compared = agreement(network, self.batches(), self.device, self.total)
        else:
            score = self.score()
        self.accelerator.wait_for_everyone()
        return self.report(score, compared)

    def report(self, score: Score, compared: Agreement | None) -> TrainReport:
        images = self.step * self.plan.batch_size
        return TrainReport(
            checkpoint=str(self.folder / MODEL),
            network="integers" if isinstance(self.network, Twin) else "float",
            start=self.before,
            accuracy=score.accuracy,
            loss=score.loss,
            agreement=None if compared is None else compared.to_json(),
            steps=self.step,
            epochs=self.options.epochs,
            images=images,
            seconds=round(self.seconds, 3),
            images_per_second=round(images / max(self.seconds, 1e-9), 1),
            processes=self.accelerator.num_processes,
            device=str(self.device),
            warnings=self.start.warnings,
        )
