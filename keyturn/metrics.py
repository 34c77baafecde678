"""What keyturn tells Prometheus: the names, what they mean, and the text that a scrape is given. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from keyturn.key_age import key_age
from keyturn.settings import CredentialSettings
from keyturn.steps.standing import Standing


@dataclass(frozen=True, slots=True)
class Metric:
    """One gauge. `labels`: of each of its samples, in this order."""

    name: str
    help: str
    labels: tuple[str, ...] = ("credential",)


METRICS = (
    Metric("keyturn_seen", "1 where the secret and its notes could be read at the last look, else 0"),
    Metric("keyturn_problems", "Parts that did not answer at the last look"),
    Metric("keyturn_key_age_seconds", "How old the key in service is"),
    Metric("keyturn_key_due_timestamp_seconds", "When the next rotation begins by itself; may be past"),
    Metric("keyturn_key_expires_timestamp_seconds", "When the key in service ends by itself, by the provider's word"),
    Metric("keyturn_old_keys", "Old keys that wait to be revoked"),
    Metric("keyturn_old_key_due_timestamp_seconds", "When the old keys may be revoked"),
    Metric("keyturn_failures", "Runs in a row that failed"),
    Metric("keyturn_parked", "1 where nothing is begun by itself any more, else 0"),
    Metric("keyturn_strays", "Keys of keyturn's at the provider that nothing claims"),
    Metric("keyturn_members", "Members of a fleet", ("credential", "fleet")),
    Metric("keyturn_members_current", "Members of a fleet that serve the current key", ("credential", "fleet")),
    Metric("keyturn_last_sweep_timestamp_seconds", "When the last sweep that was not given up ended, by Prefect", ()),
    Metric("keyturn_step_seconds", "How long a step took the last time, by Prefect", ("step",)),
    Metric("keyturn_look_timestamp_seconds", "When all of this was looked at", ()),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of one gauge, under its labels."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def samples_of(found: Standing, settings: CredentialSettings) -> Iterator[Sample]:
    """Of one credential. What is not known has no sample: it is never a zero."""
    of, seen, journal = {"credential": found.credential}, found.seen, found.seen.journal
    yield Sample("keyturn_seen", float(found.is_seen), of)
    yield Sample("keyturn_problems", len(seen.problems), of)
    for fleet, members in seen.serving.items():
        on = sum(version is not None and version == seen.current for version in members.values())
        yield Sample("keyturn_members", len(members), {**of, "fleet": fleet})
        yield Sample("keyturn_members_current", on, {**of, "fleet": fleet})
    if not found.is_seen:
        return
    age = key_age(settings, seen)
    if age.age is not None:
        yield Sample("keyturn_key_age_seconds", age.age.total_seconds(), of)
    old = seen.old_keys if seen.stages else {}
    yield Sample("keyturn_old_keys", len(old), of)
    moments = (
        ("keyturn_key_due_timestamp_seconds", age.due_at),
        ("keyturn_key_expires_timestamp_seconds", age.expires_at),
        ("keyturn_old_key_due_timestamp_seconds", journal.retire_after if old else None),
    )
    yield from (Sample(name, moment.timestamp(), of) for name, moment in moments if moment is not None)
    yield Sample("keyturn_failures", journal.failures, of)
    yield Sample("keyturn_parked", float(bool(journal.parked)), of)
    if seen.keys is not None:
        yield Sample("keyturn_strays", len(found.strays), of)


def exposition(samples: Iterable[Sample], looked_at: datetime) -> bytes:
    """In the text form that Prometheus scrapes."""
    every = [*samples, Sample("keyturn_look_timestamp_seconds", looked_at.timestamp())]
    registry = CollectorRegistry()
    registry.register(_Given(every))
    return generate_latest(registry)


class _Given(Collector):
    """These samples, and no others."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for metric in METRICS:
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for each in self.samples:
                if each.name == metric.name:
                    family.add_metric([each.labels[label] for label in metric.labels], each.value)
            yield family
