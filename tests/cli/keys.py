"""The keys that each command's JSON must have, with the types of their values."""

from __future__ import annotations

from typing import Any

from qviz.features.accuracy.ap import TABLE_METRICS

IO = {"name": str, "shape": list, "dtype": str, "scale": (float, None), "zero_point": (int, None)}
INTERVAL = {"value": (float, None), "low": (float, None), "high": (float, None), "significant": (bool, None)}
WARNING = {"code": str, "message": str, "cure": str}

INFO = {
    "models": [
        {
            "name": str,
            "sha256": str,
            "bytes": int,
            "scheme": str,
            "weight_bits": int,
            "inputs": [IO],
            "outputs": [IO],
            "operators": int,
            "quantized_operators": int,
            "float_islands": list,
            "decoder": str,
            "settings": {"mean": list, "std": list, "channels": str, "resize": str, "nms_iou": float},
            "labels": list,
            "warnings": [WARNING],
        }
    ]
}

DETECT = {
    "images": [
        {
            "image": str,
            "width": int,
            "height": int,
            "detections": [{"label": str, "class_id": int, "score": float, "box": list}],
        }
    ]
}

COMPARE = {
    "reference": str,
    "variants": [
        {
            "name": str,
            "scheme": str,
            "images": [
                {
                    "image": str,
                    "objects": [
                        {
                            "change": str,
                            "label": str,
                            "variant_label": (str, None),
                            "reference_score": (float, None),
                            "variant_score": (float, None),
                            "score_delta": (float, None),
                            "iou": (float, None),
                            "reference_box": (list, None),
                            "variant_box": (list, None),
                            "lost_because": (str, None),
                        }
                    ],
                }
            ],
            "summary": {
                "kept": int,
                "shifted": int,
                "relabelled": int,
                "lost": int,
                "spurious": int,
                "agreement": float,
                "mean_score_delta": (float, None),
            },
        }
    ],
    "warnings": [WARNING],
}

TRACE = {
    "object": {"label": str, "box": list, "reference_score": float, "variant_score": float},
    "points": [{"order": int, "tensor": str, "op_kind": str, "score": float}],
    "culprits": [{"order": int, "tensor": str, "op_kind": str, "gain": float, "cause": str}],
}

ESTIMATE = {"measure": str, "value": (float, None), "low": (float, None), "high": (float, None), "images": int}
DIAGNOSE = {
    "same_network": {"value": str, "reason": str},
    "agreement": (float, None),
    "causes": [
        {
            "code": str,
            "sentence": str,
            "operators": list,
            "explained": (float, None),
            "evidence": [{"figure": str, "value": (float, None), "unit": str, "where": str}],
        }
    ],
    "cures": [
        {
            "code": str,
            "sentence": str,
            "command": str,
            "bytes": (int, None),
            "predicted": (dict, None),
            "measured": (dict, None),
        }
    ],
    "verdict": str,
}

WHAT_IF = {
    "base": float,
    "sets": [
        {"orders": list, "agreement": float, "mean_score_delta": (float, None), "explained": (float, None)},
    ],
}

PROMISED_METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")
APS = dict.fromkeys((*PROMISED_METRICS, *(metric.key for metric in TABLE_METRICS)), (float, None))
CLASS = {"label": str, "ap": (float, None), "ap50": (float, None), "truths": int, "images": int}

ERROR = {"reference": float, "variant": float, "delta": float}

AT = {
    **dict.fromkeys(("threshold", "precision", "recall"), (float, None)),
    "misses": int,
    "false_positives_per_image": float,
}

EVALUATE = {
    "dataset": {"images": int, "annotations": int, "skipped": list},
    "models": [{"name": str, **APS, "per_class": [CLASS]}],
    "losses": [
        {
            "variant": str,
            "ap": INTERVAL,
            "per_class": [{"label": str, **INTERVAL, "truths": int, "images": int}],
            "errors": dict.fromkeys(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), ERROR),
            "threshold": dict.fromkeys(("reference", "variant", "recovered"), (float, None)),
            "operating_point": {
                **dict.fromkeys(("recall", "precision", "spurious_per_image"), INTERVAL),
                "needed": {"threshold": (float, None), "false_positives_per_image": (float, None)},
                "per_class": [{"label": str, **dict.fromkeys(("recall", "precision", "spurious_per_image"), INTERVAL)}],
                "recalibration": list,
            },
        }
    ],
    "operating_points": [{"model": str, **AT, "per_class": [{"label": str, **AT}]}],
    "slices": [
        {
            "trait": str,
            "group": str,
            "images": int,
            "truths": int,
            "losses": [{"variant": str, **INTERVAL, "more": INTERVAL}],
        }
    ],
    "slice_curves": list,
    "images_per_second": float,
    "gate": (dict, None),
}

DATASET = {
    "images": int,
    "annotations": int,
    "categories": [{"name": str, "objects": int, "images": int}],
    "problems": [{"code": str, "message": str, "fix": str, "count": int, "examples": list}],
}

PROFILE = {
    "models": [
        {
            "name": str,
            "bytes": int,
            "threads": int,
            "runs": int,
            "mean_ms": float,
            "p50_ms": float,
            "p95_ms": float,
            "peak_mb": (float, None),
            "operators": [{"order": int, "op_kind": str, "tensor": str, "ms": float}],
        }
    ]
}

MAYBE = (float, None)

ROBUSTNESS = {
    "points": [
        {
            "model": str, "corruption": str, "severity": int, "ap": MAYBE, "agreement": float, "mean_score": MAYBE,
            "clipped_share": MAYBE,
        }
    ],
    "summary": [{"model": str, "p": MAYBE, "mpc": MAYBE, "rpc": MAYBE}],
    "interactions": [{"model": str, "corruption": str, **INTERVAL}],
}  # fmt: skip

TRIED = {"name": str, "images": int, "ap": MAYBE, "agreement": MAYBE, "loss": INTERVAL, "extra": INTERVAL}

CALIBRATION = {
    "curve": [{"images": int, "ap": MAYBE, "agreement": MAYBE, "tried": [TRIED]}],
    "stability": {
        "limit": float, "layers": int, "images": int, "too_few": bool,
        "changed": [{"order": int, "tensor": str, "op_kind": str, "change": float}],
        "sizes": [{"images": int, "changed": int, "median": float, "worst": float}],
    },
    "outliers": [{"image": str, "clipped_share": float, "widening": float}],
    "mismatch": [{**TRIED, "told": str, "refused": str}],
    "methods": [TRIED],
    "add": [{"image": str, "covered": float}],
    "measure": str,
}  # fmt: skip

BUILT = {
    "recipe": str, "algorithm": str, "ranges": str, "kept_float": [int], "found_by": str, "bytes": int, "scheme": str,
    "search_loss": MAYBE, "agreement": MAYBE, "within": bool, "speed": MAYBE, "error": str, "wide": [int],
    "search_agreement": MAYBE, "moves": [{"code": str, "operators": [int]}],
}  # fmt: skip

RESCUE = {
    "file": str,
    "recipe_file": str,
    "command": str,
    "budget": {"measure": str, "max_loss": float},
    "images": {"search": int, "report": int},
    "tried": [BUILT],
    "chosen": {**BUILT, "loss": INTERVAL, "kept": bool, "images": int, "agreement": float},
    "kept": bool,
    "contributions": [{"code": str, "operators": [int], "loss": float, "agreement": float, "bytes": int}],
    "remarks": list,
}

OUT_OF_RANGE = {
    "variant": str,
    "images": int,
    "alarms": int,
    "slices": [{"trait": str, "group": str, "meaning": str, "images": int, "alarms": int, "share": float}],
    "worst_slice": (dict, None),
    "add": list,
    "gain": (dict, None),
}

RISK = {
    "reference": str,
    "variant": str,
    "threshold": float,
    "images": int,
    "calibration_images": int,
    "cross_fitted": bool,
    "noise": {"objects": int, "gone": float, "score_shift": float, "score_spread": float, "box_error": float},
    "objects": [
        {
            "image": str,
            "label": str,
            "score": float,
            "box": list,
            "threshold_margin": float,
            "runner_up": (str, None),
            "runner_up_margin": MAYBE,
            "nms_margin": MAYBE,
            "lost": MAYBE,
            "relabelled": MAYBE,
            "change": str,
        }
    ],
    "per_class": [
        {
            "label": str,
            "objects": int,
            "lost": MAYBE,
            "relabelled": MAYBE,
            "lost_share": float,
            "relabelled_share": float,
        }
    ],
    "tests": [
        {
            "outcome": str,
            "objects": int,
            "events": int,
            "estimated_from": int,
            "auroc": MAYBE,
            "low": MAYBE,
            "high": MAYBE,
            "score_auroc": MAYBE,
            "shown": bool,
            "deciles": [{"objects": int, "risk": float, "share": float}],
        }
    ],
}

VIDEO = {
    "frames": [
        {
            "index": int,
            "seconds": float,
            "brightness": float,
            "models": [{"name": str, "objects": int, "agreement": MAYBE}],
        }
    ],
    "tracks": [
        {
            "label": str,
            "first": int,
            "last": int,
            "reference_presence": float,
            "variant_presence": float,
            "blinks": int,
        }
    ],
    "summary": [{"model": str, "blinks_per_minute": float, "presence": MAYBE, "jitter": MAYBE}],
    "losses": dict.fromkeys(("blinks_per_minute", "presence", "jitter"), INTERVAL),
    "out_of_range": [{"index": int, "seconds": float, "score": float, "alarm": bool}],
}

REPORT = {"file": str, "bytes": int, "sections": list}
CARD = {"file": str, "sections": list}
DOCTOR = {
    "versions": {"qviz": str, "Python": str},
    "machine": dict,
    "limits": dict,
    "optional": [{"name": str, "available": bool, "install": str}],
    "backends": [{"name": str, "available": bool, "reason": str}],
    "selftest": {"passed": bool, "seconds": float, "checks": [{"name": str, "passed": bool, "detail": str}]},
}


def missing(promised: Any, value: Any, where: str = "") -> list[str]:
    """One sentence per key that `value` lacks or that has another type. Additional keys are allowed."""
    if isinstance(promised, dict):
        if not isinstance(value, dict):
            return [f"{where} is no object"]
        return [
            sentence
            for key, kind in promised.items()
            for sentence in (
                missing(kind, value[key], f"{where}.{key}") if key in value else [f"{where}.{key} is missing"]
            )
        ]
    if isinstance(promised, list):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [sentence for i, item in enumerate(value) for sentence in missing(promised[0], item, f"{where}[{i}]")]
    kinds = promised if isinstance(promised, tuple) else (promised,)
    fits = value is None if None in kinds and value is None else isinstance(value, tuple(k for k in kinds if k))
    return [] if fits else [f"{where} is {value!r}"]
