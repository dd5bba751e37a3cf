"""The bundle: a trained model as one file of plain tensors, numbers and text.

Nothing in it is code: it loads with ``torch.load(weights_only=True)``, and what is not exactly of the
expected form is refused before it is used. A digest over the content names the model and catches damage.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import BundleError
from aegis_yield.models.calibration import SIDE_LEVELS, Calibrator, ScorePool
from aegis_yield.models.lstm import LstmModel, MemberGroup, build_network
from aegis_yield.models.network import Architecture
from aegis_yield.models.ranks import FeatureRanks
from aegis_yield.models.recipes import Recipe, recipe_from_state
from aegis_yield.models.scaling import FeatureScaler
from aegis_yield.models.shape import N_FORECAST_INPUTS, Shape, build_shape_network
from aegis_yield.models.torch_runtime import UNREADABLE, torch
from aegis_yield.models.volatility import VolatilityMap
from aegis_yield.models.volatility_recipe import VolatilityRecipe
from aegis_yield.preprocessing.features import FEATURE_NAMES

FORMAT: Final = "aegis-yield-bundle"
FORMAT_VERSION: Final = 3
READABLE_VERSIONS: Final = (1, 2, 3)
"""Version 2 added ``experts``, groups of members of other recipes, and the ``shape``; a bundle of version 1 has
neither, and keeps errors in spreads where version 2 keeps ratios. Version 3 knows whose each ratio is."""

EXPERT_RECIPES: Final = {"volatility": VolatilityRecipe}
"""Recipes of expert groups by the name they have in bundles."""

CALIBRATED: Final = "calibrated"
"""What a provenance says of the outcomes since training: to which day, of which data, how many, from which version."""

MAX_BUNDLE_BYTES: Final = 64 * 1024**2
_MADE_BY_TRAINING: Final = ("architecture", "recipe", "scaler", "members", "experts", "shape", "volatility_map")
_RETRAIN: Final = "train a new one with: python scripts/train.py"


@dataclass(frozen=True)
class Bundle:
    """A model with its calibration and where it came from.

    Attributes
    ----------
    model : LstmModel
        Fitted networks.
    calibrator : Calibrator
        With the scores of the calibration block.
    provenance : dict
        Plain values: data hash and range, plan, commit, metrics, curves.
    """

    model: LstmModel
    calibrator: Calibrator
    provenance: dict[str, Any]

    @property
    def is_simulated(self) -> bool:
        """Whether the model learned from simulated data."""
        return bool(self._said("data").get("simulated", False))

    @property
    def trained_to(self) -> str:
        """ISO date of the last row that training saw, or ``unknown``."""
        return str(self._said("data").get("last_date", "unknown"))

    @property
    def data_end(self) -> str:
        """ISO date of the last row that training or calibration saw."""
        calibrated = str(self.calibrated.get("until", ""))
        return self.trained_to if self.trained_to == "unknown" else max(self.trained_to, calibrated)

    @property
    def calibrated(self) -> dict[str, Any]:
        """What it says of the outcomes since its training; empty unless its intervals have learned from some."""
        return self._said(CALIBRATED)

    @cached_property
    def training_id(self) -> str:
        """Which training its networks come from: the same in a version and in what is recalibrated from it.

        A digest of all that training made (networks, scaler, shape, and what it says of itself); what the intervals
        have learned is left out.
        """
        made = {name: value for name, value in _content(self).items() if name in _MADE_BY_TRAINING}
        return _digest({**made, "provenance": json.dumps(self._said_by_training, sort_keys=True)})

    def as_trained(self) -> Bundle:
        """Return it with no more than its training knew: without ratios whose outcome was known later.

        Of many ratios a bundle keeps the newest, so some that training left may be gone.
        """
        if not self.calibrated:
            return self
        pool = self.calibrator.pool
        known = pool.known_day <= np.datetime64(self.trained_to, "D").astype(np.int64)
        return Bundle(self.model, replace(self.calibrator, pool=pool.where(known)), self._said_by_training)

    @property
    def _said_by_training(self) -> dict[str, Any]:
        return {name: value for name, value in self.provenance.items() if name != CALIBRATED}

    def _said(self, name: str) -> dict[str, Any]:
        """Return a part of the provenance; a foreign bundle may say anything."""
        held = self.provenance.get(name)
        return held if isinstance(held, dict) else {}


def bundle_bytes(bundle: Bundle) -> bytes:
    """Return the file content of a bundle; equal bundles give equal bytes."""
    content = _content(bundle)
    content["digest"] = _digest(content)
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def load_bundle(path: Path) -> Bundle:
    """Read a bundle from a file.

    Raises
    ------
    BundleError
        If the file is missing, too large, not a bundle (a pickle is refused unread), damaged, of
        another format version, or made for other features.
    """
    _check_container(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # what torch remarks on a foreign file, the refusal says
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise BundleError(f"{path}: received a file that torch cannot load as plain weights; {_RETRAIN}") from error
    try:
        _check_header(path, content)
        return _rebuild(content)
    except BundleError:
        raise
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(f"{path}: the bundle is incomplete or malformed ({reason}); {_RETRAIN}") from error


def bundle_digest(path: Path) -> str:
    """Return the first eight characters of a bundle file's SHA-256: which bytes exactly."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def _content(bundle: Bundle) -> dict[str, Any]:
    model, pool = bundle.model, bundle.calibrator.pool
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": asdict(model.architecture),
        "feature_names": list(FEATURE_NAMES),
        "recipe": _recipe_content(model.recipe),
        "scaler": {"mean": torch.from_numpy(model.scaler.mean), "std": torch.from_numpy(model.scaler.std)},
        "members": [dict(weights) for weights in model.members],
        "experts": [
            {"recipe": _recipe_content(group.recipe), "members": [dict(weights) for weights in group.members]}
            for group in model.experts
        ],
        "shape": _shape_content(model.shape),
        "volatility_map": torch.from_numpy(model.volatility_map.coefficients),
        "calibration": {
            "ratio": torch.from_numpy(pool.ratio.astype(np.float16)),
            "category": torch.from_numpy(pool.category.astype(np.uint8)),
            "state": torch.from_numpy(pool.state.astype(np.uint8)),
            "horizon_days": torch.from_numpy(pool.horizon_days.astype(np.uint8)),
            "known_day": torch.from_numpy(pool.known_day.astype(np.int32)),
            "strategy": torch.from_numpy(pool.strategy.astype(np.int64)),
            "halflife_days": float(bundle.calibrator.halflife_days),
            "strength": [float(share) for share in bundle.calibrator.strength],
            "record_prior": [float(prior) for prior in (bundle.calibrator.record_prior,) if prior is not None],
        },
        "provenance": json.dumps(bundle.provenance, sort_keys=True),
    }


def _recipe_content(recipe: Recipe) -> dict[str, Any]:
    return {"name": recipe.name, "state": recipe.to_state()}


def _rebuild(content: dict[str, Any]) -> Bundle:
    architecture = Architecture(**content["architecture"])
    scaler = FeatureScaler(content["scaler"]["mean"].numpy(), content["scaler"]["std"].numpy())
    calibrator = _rebuild_calibrator(content["calibration"])
    model = LstmModel(
        architecture=architecture,
        recipe=recipe_from_state(content["recipe"]["name"], content["recipe"]["state"]),
        scaler=scaler,
        members=tuple(content["members"]),
        volatility_map=VolatilityMap(content["volatility_map"].numpy()),
        experts=tuple(_rebuild_group(group) for group in content.get("experts", [])),
        shape=_rebuild_shape(content.get("shape", {})),
    )
    bundle = Bundle(model, calibrator, json.loads(content["provenance"]))
    _check_form(bundle)
    for group in model.groups:
        for weights in group.members:
            build_network(architecture, weights)  # names and shapes must fit the architecture
    for weights in model.shape.members if model.shape else ():
        build_shape_network(weights)
    return bundle


def _rebuild_calibrator(held: dict[str, Any]) -> Calibrator:
    category, horizon_days, known_day = (
        held[name].numpy().astype(np.int32) for name in ("category", "horizon_days", "known_day")
    )
    halflife_days = float(held["halflife_days"])
    if "score" in held:  # version 1 kept errors in spreads, of forecasts in Laplace's shape
        pool = ScorePool.of_scores(held["score"].numpy(), category, horizon_days, known_day)
        return Calibrator(pool, halflife_days)
    state = held["state"].numpy().astype(np.int32)
    strategy = held["strategy"].numpy() if "strategy" in held else np.zeros(len(state), dtype=np.int64)
    pool = ScorePool(held["ratio"].numpy(), category, horizon_days, known_day, state, strategy)
    priors = [float(prior) for prior in held.get("record_prior", [])]
    return Calibrator(pool, halflife_days, tuple(map(float, held["strength"])), *priors)


def _shape_content(shape: Shape | None) -> dict[str, Any]:
    if shape is None:
        return {}
    ranks = {name: torch.from_numpy(np.asarray(value)) for name, value in vars(shape.ranks).items()}
    return {
        "ranks": ranks,
        "members": [dict(weights) for weights in shape.members],
        "laplace_share": [float(share) for share in shape.laplace_share],
        "move_share": float(shape.move_share),
    }


def _rebuild_shape(content: dict[str, Any]) -> Shape | None:
    if not content:
        return None
    ranks = FeatureRanks(**{name: value.numpy() for name, value in content["ranks"].items()})
    laplace_share, move_share = tuple(map(float, content["laplace_share"])), float(content["move_share"])
    return Shape(ranks, tuple(content["members"]), laplace_share, move_share)


def _are_ranks(ranks: FeatureRanks) -> bool:
    n, first = len(FEATURE_NAMES), ranks.first
    is_whole = first.shape == (n + 1,) and first[0] == 0 and bool((np.diff(first) > 0).all())
    fits = ranks.knots.shape == ranks.scores.shape == (int(first[-1]),) and ranks.mean.shape == ranks.std.shape == (n,)
    values = (ranks.knots, ranks.scores, ranks.mean, ranks.std)
    return is_whole and fits and all(np.isfinite(x).all() for x in values) and bool((ranks.std > 0).all())


def _are_shares(shape: Shape) -> bool:
    shares = (*shape.laplace_share, shape.move_share)
    return len(shape.laplace_share) == len(SIDE_LEVELS) and all(0.0 <= share <= 1.0 for share in shares)


def _rebuild_group(content: dict[str, Any]) -> MemberGroup:
    name, state = content["recipe"]["name"], content["recipe"]["state"]
    if name not in EXPERT_RECIPES:
        raise ValueError(f"experts: received the recipe {name!r}, known are {', '.join(EXPERT_RECIPES)}")
    return MemberGroup(EXPERT_RECIPES[name](**state), tuple(content["members"]))


def _check_form(bundle: Bundle) -> None:
    model, pool = bundle.model, bundle.calibrator.pool
    n_channels = _n_channels(model.recipe)
    shape_networks = model.shape.members if model.shape else ()
    networks = [*(weights for group in model.groups for weights in group.members), *shape_networks]
    scaler, coefficients = model.scaler, model.volatility_map.coefficients
    columns = (pool.category, pool.horizon_days, pool.known_day, pool.state, pool.strategy)
    checks = {
        "architecture": model.architecture == Architecture(n_inputs=n_channels + 1),
        "scaler": scaler.mean.shape == scaler.std.shape == (n_channels,) and bool((scaler.std > 0).all()),
        "members": all(len(group.members) > 0 for group in model.groups),
        "experts": all(_n_channels(group.recipe) == n_channels for group in model.experts)
        and all(np.isfinite(list(group.recipe.to_state().values())).all() for group in model.experts),
        "shape": all(
            weights["hidden.0.weight"].shape[1] == n_channels + 1 + N_FORECAST_INPUTS + len(FEATURE_NAMES)
            for weights in shape_networks
        )
        and (model.shape is None or (_are_ranks(model.shape.ranks) and _are_shares(model.shape))),
        "volatility_map": coefficients.shape == VolatilityMap.identity().coefficients.shape,
        "calibration": all(column.shape == (len(pool),) for column in columns)
        and bool(((pool.category < len(CATEGORIES)) & (pool.horizon_days > 0)).all())
        and pool.ratio.shape == (len(pool), len(SIDE_LEVELS))
        and bundle.calibrator.halflife_days > 0
        and (bundle.calibrator.record_prior is None or 0.0 < bundle.calibrator.record_prior < np.inf)
        and len(bundle.calibrator.strength) == len(SIDE_LEVELS)
        and all(0.0 <= share <= 1.0 for share in bundle.calibrator.strength),
        "provenance": isinstance(bundle.provenance, dict),
        "finiteness": all(np.isfinite(x).all() for x in (scaler.mean, scaler.std, coefficients, pool.ratio))
        and all(bool(tensor.isfinite().all()) for weights in networks for tensor in weights.values()),
    }
    for name, is_fine in checks.items():
        if not is_fine:
            raise ValueError(f"{name} is not of the expected form")


def _n_channels(recipe: Recipe) -> int:
    return int(recipe.inputs(np.zeros((1, len(FEATURE_NAMES)), dtype=np.float32)).shape[1])


def _check_container(path: Path) -> None:
    if not path.is_file():
        raise BundleError(f"{path}: no such model file; list models with: ls models, or {_RETRAIN}")
    size = path.stat().st_size
    if size > MAX_BUNDLE_BYTES:
        raise BundleError(f"{path}: received {size:,} bytes, allowed are {MAX_BUNDLE_BYTES:,}; {_RETRAIN}")
    # A bundle is an uncompressed zip. Anything else, a bare pickle above all, is refused without reading
    # a byte of its content; so is a compressed archive, which could unpack to any size.
    try:
        foreign = not zipfile.is_zipfile(path)
        stored, damaged = (False, None) if foreign else _tested(path)
    except UNREADABLE as error:
        raise BundleError(f"{path}: the model file is damaged ({error}); {_RETRAIN}") from error
    if foreign:
        raise BundleError(f"{path}: not a model bundle (a pickle or another foreign file is never opened); {_RETRAIN}")
    if not stored or damaged is not None:
        raise BundleError(f"{path}: the model file is damaged or foreign; {_RETRAIN}")


def _tested(path: Path) -> tuple[bool, str | None]:
    with zipfile.ZipFile(path) as archive:
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        return stored, archive.testzip() if stored else None


def _check_header(path: Path, content: object) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BundleError(f"{path}: weights without a bundle around them (no format {FORMAT!r}); {_RETRAIN}")
    version = content.get("format_version")
    if type(version) is not int or version not in READABLE_VERSIONS:
        *older, newest = READABLE_VERSIONS
        readable = f"{', '.join(map(str, older))} and {newest}"
        raise BundleError(f"{path}: format version {version!r}, this release reads {readable}; {_RETRAIN}")
    if content.get("feature_names") != list(FEATURE_NAMES):
        raise BundleError(f"{path}: made for other input features than this release computes; {_RETRAIN}")
    held = content.pop("digest", None)
    if held != _digest(content):
        raise BundleError(f"{path}: the content does not match its digest: damaged or changed by hand; {_RETRAIN}")


def _digest(content: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    _feed(digest, content)
    return digest.hexdigest()


def _feed(digest: Any, value: object) -> None:
    """Feed a nested plain value to a hash, types and lengths included."""
    if isinstance(value, torch.Tensor):
        if value.numel() * value.element_size() > MAX_BUNDLE_BYTES:  # a stride of zero can pretend any size
            raise ValueError(f"received a tensor of shape {tuple(value.shape)}")
        array = value.detach().contiguous().cpu().numpy()
        digest.update(f"tensor:{array.dtype}:{array.shape}:".encode())
        digest.update(array.tobytes())
    elif isinstance(value, dict):
        digest.update(f"dict:{len(value)}:".encode())
        for key in sorted(value):
            digest.update(f"{key}=".encode())
            _feed(digest, value[key])
    elif isinstance(value, list):
        digest.update(f"list:{len(value)}:".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(f"{type(value).__name__}:{value!r};".encode())
