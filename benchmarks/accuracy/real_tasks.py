"""What the features of real.py are good for, and how near they are to those of floating point.

Three tasks, all of them with the float network's own answers beside those of the integers:

* objects: the class of a picture, by the nearest picture of another object, and by ridge regression on the features
  (5 folds over pictures). `probe` is trained on float features and applied to the quantised network's, as when a
  network is quantised behind a classifier; `probe_retrained` is trained on the quantised network's own features.
* photographs: whether the nearest other crop is of the same photograph.
* saliency: the map that the package's own decoder makes of the patch tokens, in 0..1, against that of float tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from real_features import Array, Features, Pictures
from real_weights import GRID
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

#: A pixel is salient above this value, as in the package's own code.
SALIENT = 0.8
_FOLDS = 5


def closeness(found: Array, wanted: Array) -> dict[str, float]:
    """Signal to noise ratio in decibels over everything, and the mean and the least cosine of vectors [.., 384]."""
    noise = float(np.square(found - wanted, dtype=np.float64).sum())
    signal = float(np.square(wanted, dtype=np.float64).sum())
    lengths = np.linalg.norm(found, axis=-1) * np.linalg.norm(wanted, axis=-1)
    cosines = (found * wanted).sum(-1) / np.maximum(lengths, 1e-12)
    ratio = 10 * np.log10(signal / noise) if noise else float("inf")
    return {
        "sqnr_db": round(ratio, 2),
        "cosine": round(float(cosines.mean()), 4),
        "worst": round(float(cosines.min()), 3),
    }


def features_close(found: Features, wanted: Features) -> dict[str, Any]:
    """Class and patch tokens of photographs, class tokens of objects, and the residual stream after each block."""
    return {
        "class_token": closeness(found.tokens[:, 0], wanted.tokens[:, 0]),
        "patch_tokens": closeness(found.tokens[:, 1:], wanted.tokens[:, 1:]),
        "objects": closeness(found.objects, wanted.objects),
        "blocks_db": [closeness(*pair)["sqnr_db"] for pair in zip(found.streams, wanted.streams, strict=False)],
    }


class Tasks:
    """The tasks on some pictures, with what floating point answers."""

    def __init__(self, pictures: Pictures, wanted: Features, decoder: onnxruntime.InferenceSession) -> None:
        self.pictures, self.decoder = pictures, decoder
        self.folds = list(GroupKFold(_FOLDS).split(pictures.labels, groups=pictures.pictures))
        self.probes = [self._probe(wanted.objects, train) for train, _ in self.folds]
        self.wanted = wanted
        self.wanted_answers = self._answers(wanted)
        self.wanted_saliency = self._saliency(wanted)

    def score(self, found: Features) -> dict[str, Any]:
        """Accuracies in percent, how often the answer is that of floating point, and the error of the saliency."""
        answers = self._answers(found)
        answers["probe_retrained"] = self._retrained(found)
        right = {
            "nearest": self.pictures.labels,
            "probe": self.pictures.labels,
            "probe_retrained": self.pictures.labels,
            "photographs": self.pictures.photographs,
        }
        scores = {name: _percent(answers[name] == right[name]) for name in right}
        same = {f"{name}_same": _percent(answers[name] == self.wanted_answers[name]) for name in self.wanted_answers}
        saliency = self._saliency(found)
        return {**scores, **same, **_overlap(saliency, self.wanted_saliency)}

    def _answers(self, found: Features) -> dict[str, Array]:
        """Classes of objects by neighbour and by probe, and the photograph of each crop's neighbour."""
        probe = np.empty_like(self.pictures.labels)
        for (_, test), model in zip(self.folds, self.probes, strict=True):
            probe[test] = model.predict(found.objects[test])
        return {
            "nearest": self.pictures.labels[_nearest(found.objects, self.pictures.pictures)],
            "probe": probe,
            "photographs": self.pictures.photographs[_nearest(found.tokens[:, 0], np.arange(len(found.tokens)))],
        }

    def _retrained(self, found: Features) -> Array:
        answers = np.empty_like(self.pictures.labels)
        for train, test in self.folds:
            answers[test] = self._probe(found.objects, train).predict(found.objects[test])
        return answers

    def _probe(self, features: Array, train: Array) -> Any:
        model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=100))
        return model.fit(features[train], self.pictures.labels[train])

    def _saliency(self, found: Features) -> Array:
        """float32 [N, 1, 224, 224]."""
        patches = found.tokens[:, 1:].transpose(0, 2, 1).reshape(len(found.tokens), -1, GRID, GRID)
        name = self.decoder.get_inputs()[0].name
        maps = [self.decoder.run(None, {name: np.ascontiguousarray(patch[None])})[0] for patch in patches]
        return np.concatenate(maps)


def _nearest(features: Array, groups: Array) -> Array:
    """For each vector [N, 384] the index of that of another group with the largest cosine."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    cosines[groups[:, None] == groups] = -2
    nearest: Array = cosines.argmax(1)
    return nearest


def _overlap(found: Array, wanted: Array) -> dict[str, float]:
    """Mean absolute error of maps, and the intersection over union of what is salient in all of them."""
    either = (found > SALIENT) | (wanted > SALIENT)
    both = (found > SALIENT) & (wanted > SALIENT)
    union = float(both.sum() / max(1, either.sum()))
    return {"saliency_mae": round(float(np.abs(found - wanted).mean()), 4), "saliency_iou": round(union, 3)}


def _percent(right: Array) -> float:
    return round(100 * float(right.mean()), 1)
