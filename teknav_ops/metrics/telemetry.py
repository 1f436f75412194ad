"""The catalogue's metrics through OpenTelemetry: observed at each export, by the process that leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from teknav_ops.metrics.catalogue import FAMILIES, UP, Distribution, Family
from teknav_ops.metrics.reading import Reader, Reading

Labels = dict[str, str]
Parts = Callable[[Labels, Any], Iterable[tuple[Labels, float]]]


def _number(labels: Labels, value: float) -> Iterable[tuple[Labels, float]]:
    return [(labels, value)]


def _buckets(labels: Labels, value: Distribution) -> Iterator[tuple[Labels, float]]:
    for bound, count in value.buckets:
        yield {**labels, "le": bound}, count


#: No instrument can observe a distribution as a whole: it becomes counters.
_PARTS: Final[dict[str, Parts]] = {
    "_bucket": _buckets,
    "_count": lambda labels, value: [(labels, value.count)],
    "_sum": lambda labels, value: [(labels, value.sum_seconds)],
}


def observe(meter: Meter, reader: Reader, is_observed: Callable[[], bool]) -> None:
    """Make instruments of all families, under Prometheus's names; those of a histogram end in `_bucket` (by `le`),
    `_count` and `_sum`. While `is_observed` says no nothing is exported: one process tells what all could.
    """

    def read() -> Reading | None:
        return reader.read() if is_observed() else None

    def is_up(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(reader.read() is not None))] if is_observed() else []

    meter.create_observable_gauge(UP.name, [is_up], description=UP.help)
    for family in FAMILIES:
        if family.kind == "gauge":
            meter.create_observable_gauge(family.name, [_observer(read, family, _number)], description=family.help)
        elif family.kind == "counter":
            meter.create_observable_counter(family.name, [_observer(read, family, _number)], description=family.help)
        else:
            for suffix, parts in _PARTS.items():
                callback = _observer(read, family, parts)
                meter.create_observable_counter(family.name + suffix, [callback], description=family.help)


def _observer(
    read: Callable[[], Reading | None], family: Family, parts: Parts
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def callback(_: CallbackOptions) -> Iterator[Observation]:
        reading = read()
        for values, value in family.samples(reading) if reading else ():
            labels = dict(zip(family.labels, values, strict=True))
            for attributes, number in parts(labels, value):
                yield Observation(number, attributes)

    return callback
