"""The title of a net's picture: where its gradient stops or vanishes, as a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from microgradx._base.text import count, short
from microgradx.explain.layers import Passage, Survey, mean_square_root
from microgradx.explain.samples import Net, Neuron

NAMES, LETTERS = 3, 60  # of neurons in a title; of more, their number
ALL_LEARN = "no parameter is starved"
SMALL, LARGE = 3.0, 2.0  # decades from the last layer to the first, as in `Flow`


class Answer(NamedTuple):
    """A title, and the line below it that says what follows."""

    title: str
    line: str


def answer(survey: Survey) -> Answer:
    """The title of a net's picture: a stop comes before a gradient that fades."""
    net, samples = survey.net, count(survey.net.samples, "sample")
    if not _finite(x for n in net.neurons for t in n.turns.values() for x in (t.y.data, t.y.grad)):
        return Answer(f"Not finite {_origin(net)}", samples)
    if not net.output.grad:
        return Answer("No gradients yet: call backward() first", samples)
    starved = _starved(survey)
    whole = [neuron for neuron in survey.off if survey.stops_all(neuron)]
    partly = [neuron for neuron in survey.off if neuron not in whole]
    if whole:
        title = f"The gradient stops at {_names(whole)}: {_off_on_all(whole)}"
        if 0 < len(partly) <= NAMES:
            verb = "is" if len(partly) == 1 else "are"
            starved = f"{_names(partly)} {verb} off on some; {starved}"
        return Answer(title, starved)
    lost = _lost(survey)
    if lost:
        return Answer(f"The gradient stops {lost}", starved)
    line = f"No stop; {starved}" if not partly and starved == ALL_LEARN else starved
    change = _change(survey.passages)
    if change:
        return Answer(change, line)
    if partly:
        worst = max(partly, key=survey.off_on)
        return Answer(
            f"The gradient stops at {worst.name} on {survey.off_on(worst)} of {samples}", starved
        )
    return Answer(_steady(survey.passages), line)


def _lost(survey: Survey) -> str:
    """Where nothing is left for a whole layer, by no neuron's doing: factors of 0 between two."""
    for layer in reversed(survey.net.layers):
        turns = [turn for neuron in layer.neurons.values() for turn in neuron.turns.values()]
        if not any(turn.y in survey.alive for turn in turns):
            readers = [above.name for above in survey.net.layers if layer in above.reads]
            if not readers:
                return "in the loss: none of it reaches the net"
            return f"between {readers[-1]} and {layer.name}: every factor there is 0"
    return ""


def is_gate(neuron: Neuron) -> bool:
    """Whether a slope of 0 means that a ReLU, or an op alike, is off."""
    return neuron.rule is not None and neuron.rule.shut_below is not None


def linear_op(neuron: Neuron) -> str:
    """How a neuron without an activation comes about: `w·x + b`, or the sign of its op."""
    if neuron.parameters:
        return "w·x + b" if len(neuron.parameters) > 1 else "w·x"
    return neuron.rule.label if neuron.rule else ""


def _starved(survey: Survey) -> str:
    parameters = list(dict.fromkeys(p for n in survey.net.neurons for p in n.parameters))
    starved = survey.starved(parameters)
    if not starved:
        return ALL_LEARN
    rest = "is starved: it learns" if starved == 1 else "are starved: they learn"
    return f"{starved:,} of {count(len(parameters), 'parameter')} {rest} nothing"


def _off_on_all(neurons: list[Neuron]) -> str:
    off = "off" if all(map(is_gate, neurons)) else "of slope 0"
    turns = {len(neuron.turns) for neuron in neurons}
    if turns == {1}:
        return f"{off} on this sample"
    return f"{off} on all {min(turns)} samples" if len(turns) == 1 else f"{off} on all samples"


def _origin(net: Net) -> str:
    """Where numbers cease to be finite: on the way there, in the loss, or on the way back."""
    data = [n for n in net.neurons if not _finite(x.data for t in n.turns.values() for x in t[:2])]
    if data:
        return f"at {_names([neuron for neuron in data if neuron.layer is data[0].layer])}"
    if not _finite(
        [net.output.data, *[turn.y.grad for n in net.outputs for turn in n.turns.values()]]
    ):
        return "in the loss"
    grads = [n for n in net.neurons if not _finite(x.grad for t in n.turns.values() for x in t[:2])]
    return f"at {_names([neuron for neuron in grads if neuron.layer is grads[-1].layer])}"


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(math.isfinite, numbers))


def _names(neurons: list[Neuron]) -> str:
    """Their names if these are few and short, else how many and in which layer most of them."""
    names = [neuron.name for neuron in neurons]
    if len(names) <= NAMES and sum(map(len, names)) <= LETTERS:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    layers = [neuron.layer for neuron in neurons]
    most = max(dict.fromkeys(reversed(layers)), key=layers.count)  # of equals that nearest the loss
    if layers.count(most) == len(neurons):
        if len(neurons) == len(most.neurons):
            return f"all {len(neurons)} neurons of {most.name}"
        return f"{len(neurons)} of the {count(len(most.neurons), 'neuron')} of {most.name}"
    return f"{len(neurons)} neurons, {layers.count(most)} of them in {most.name}"


def _change(passages: list[Passage]) -> str:
    """The sentence for a gradient that is small, or large, where it leaves the first layer."""
    start = mean_square_root([p.arriving for p in passages if not p.is_read])
    end = passages[0].leaving
    if start and not end:
        return f"The gradient underflows on its way to {passages[0].layer.name}"
    decades = math.log10(end / start) if start > 0 and 0 < end / start < math.inf else 0.0
    # The last layers take part by their slopes alone; of equals the nearest to the loss is named.
    taking = [p for p in reversed(passages) if p.is_read or p.slopes != 1]
    layers = count(len(taking), "layer")
    if decades <= -SMALL:
        least = min(taking, key=lambda passage: passage.factor)
        factor = f"×{short(least.factor)}"
        if math.log10(least.factor) <= decades / 2:
            return f"The gradient vanishes in {least.layer.name}: {factor} in this one layer"
        lost = f"{-decades:.1f} decades in {layers}"
        return f"The gradient vanishes: {lost}, most in {least.layer.name}, {factor}"
    if decades >= LARGE:
        most = max(taking, key=lambda passage: passage.factor)
        gained = f"{decades:.1f} decades in {layers}"
        return f"The gradient explodes: {gained}, most in {most.layer.name}, ×{short(most.factor)}"
    return ""


def _steady(passages: list[Passage]) -> str:
    first, last = passages[0], passages[-1]
    if first is last or not last.arriving:
        return f"The gradient arrives at {first.layer.name or 'the layer'}: {short(first.arriving)}"
    factor = short(first.leaving / last.arriving)
    return f"The gradient gets through: ×{factor} from {last.layer.name} to {first.layer.name}"
