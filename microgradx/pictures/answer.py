"""The title of a net's picture: where its gradient stops or gets small, as a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from microgradx._base.text import count, on_all, short
from microgradx.explain.case import Limits
from microgradx.explain.layers import Passage, Survey, mean_square_root
from microgradx.explain.samples import Layer, Net, Neuron

NAMES, LETTERS = 3, 60  # of neurons in a title; of more, their number
ALL_LEARN = "No parameter is starved"
LIMITS = Limits()  # decades from the last layer to the first, as `why` has them


class Answer(NamedTuple):
    """A title, the line below it that says what follows, and what the title is about.

    about: the layers that it names, or the neuron that stops a gradient on most samples
    begin: the layer from which on a gradient is small or large, as `mark` says
    """

    title: str = ""
    line: str = ""
    about: tuple[Layer | Neuron, ...] = ()
    begin: Layer | None = None
    mark: str = ""


UNTITLED = Answer()
STOPS_IN_LOSS = "The gradient stops in the loss: none of it reaches the net"
NO_GRADIENT = "No gradient at the output: call backward() first, unless 0 is what arrives there"


def answer(survey: Survey) -> Answer:
    """The title of a net's picture: a stop comes before a gradient that gets small or large."""
    spoilt = _spoilt(survey.net)
    if spoilt:
        return spoilt
    if not survey.net.output.grad:
        return Answer(NO_GRADIENT, "")
    whole = [neuron for neuron in survey.stops if survey.stops_all(neuron)]
    partly = {neuron: n for neuron, n in survey.stops.items() if neuron not in whole}
    starved = _starved(survey)
    if whole:
        stop, change = _stopped(whole, [*partly], starved), _change(survey.passages)
        if change is None or change.begin is None:
            return stop
        line = f"{stop.line}; it gets {change.mark.split()[0]} at {change.begin.name}"
        return stop._replace(line=line, begin=change.begin, mark=change.mark)
    line = f"No stop; {starved.lower()}" if not partly and starved == ALL_LEARN else starved
    lost = _lost(survey)
    found = lost or _change(survey.passages)
    if found:
        return found._replace(line=starved if lost else line)
    if partly:
        worst = max(partly, key=lambda neuron: partly[neuron])
        samples = count(survey.net.samples, "sample")
        title = f"The gradient stops at {worst.name} on {partly[worst]} of {samples}"
        return Answer(title, starved, (worst,))
    return Answer(_steady(survey.passages), line)


def _stopped(whole: list[Neuron], partly: list[Neuron], line: str) -> Answer:
    """Neurons that stop it on all samples; below, those that do so on some, if they are few."""
    if 0 < len(partly) <= NAMES:
        line = f"{_names(partly)} {'is' if len(partly) == 1 else 'are'} off on some; {line}"
    title = f"The gradient stops at {_names(whole)}: {_off_on_all(whole)}"
    return Answer(title, line, _layers_in_name(whole))


def _lost(survey: Survey) -> Answer | None:
    """Where nothing is left for a whole layer, by no neuron's doing: factors of 0 between two."""
    for layer in reversed(survey.net.layers):
        turns = [turn for neuron in layer.neurons.values() for turn in neuron.turns.values()]
        if not any(turn.y in survey.alive for turn in turns):
            readers = [above for above in survey.net.layers if layer in above.reads]
            if not readers:
                return Answer(STOPS_IN_LOSS)
            between = f"between {readers[-1].name} and {layer.name}"
            title = f"The gradient stops {between}: every factor there is 0"
            return Answer(title, "", (readers[-1], layer))
    return None


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
    return f"{off} {on_all(*turns)}" if len(turns) == 1 else f"{off} on all samples"


def _spoilt(net: Net) -> Answer | None:
    """Where numbers cease to be finite: on the way there, in the loss, or on the way back."""
    data = [n for n in net.neurons if not _finite(x.data for t in n.turns.values() for x in t[:2])]
    if data:
        return _not_finite([neuron for neuron in data if neuron.layer is data[0].layer])
    grads = [n for n in net.neurons if not _finite(x.grad for t in n.turns.values() for x in t[:2])]
    if not grads:
        return None
    ends = [turn.y.grad for neuron in net.outputs for turn in neuron.turns.values()]
    if not _finite([net.output.data, *ends]):
        return Answer("Not finite in the loss", "")
    return _not_finite([neuron for neuron in grads if neuron.layer is grads[-1].layer])


def _not_finite(neurons: list[Neuron]) -> Answer:
    return Answer(f"Not finite at {_names(neurons)}", "", _layers_in_name(neurons))


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(math.isfinite, numbers))


def _names(neurons: list[Neuron]) -> str:
    """Their names if these are few and short, else how many and in which layer most of them."""
    names = [neuron.name for neuron in neurons]
    if _are_named(neurons):
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    first, most = neurons[-1].layer, _most_common_layer(neurons)  # as the gradient meets them
    within = sum(neuron.layer is most for neuron in neurons)
    if within < len(neurons):
        where = "there" if first is most else f"in {most.name}"
        return f"{len(neurons)} neurons, first in {first.name}, {within} of them {where}"
    if within == len(most.neurons):
        return f"all {within} neurons of {most.name}"
    return f"{within} of the {count(len(most.neurons), 'neuron')} of {most.name}"


def _are_named(neurons: list[Neuron]) -> bool:
    names = [neuron.name for neuron in neurons]
    return len(names) <= NAMES and sum(map(len, names)) <= LETTERS


def _most_common_layer(neurons: list[Neuron]) -> Layer:
    layers = [neuron.layer for neuron in neurons]
    return max(dict.fromkeys(reversed(layers)), key=layers.count)  # of equals that nearest the loss


def _layers_in_name(neurons: list[Neuron]) -> tuple[Layer, ...]:
    """The layers that stand in the name of neurons."""
    if _are_named(neurons):
        return tuple(dict.fromkeys(neuron.layer for neuron in neurons))
    return tuple({neurons[-1].layer: None, _most_common_layer(neurons): None})


def _change(passages: list[Passage]) -> Answer | None:
    """The title for a gradient that is small, or large, where it leaves the first layer."""
    start = mean_square_root([p.arriving for p in passages if not p.is_read])
    first, end = passages[0].layer, passages[0].leaving
    if start and not end:
        return Answer(f"The gradient underflows on its way to {first.name}", "", (first,))
    decades = math.log10(end / start) if start > 0 and 0 < end / start < math.inf else 0.0
    if -LIMITS.small < decades < LIMITS.large:
        return None
    # The last layers take part by their slopes alone; of equals the nearest to the loss is named.
    taking = [p for p in reversed(passages) if p.is_read or p.slopes != 1]
    most = (min if decades < 0 else max)(taking, key=lambda passage: passage.factor)
    name, factor = most.layer.name, f"×{short(most.factor)}"
    begin = _begin(passages, start, decades < 0)
    size, changed = ("small", "lost") if decades < 0 else ("large", "gained")
    if decades < 0 and math.log10(most.factor) <= decades / 2:
        title = f"The gradient gets small in {name}: {factor} in this one layer"
    else:
        lost = f"{abs(decades):.1f} decades {changed} in {count(len(taking), 'layer')}"
        where = "there" if begin is most.layer else f"in {name}"
        title = f"The gradient gets {size} at {begin.name}: {lost}, most {where}, {factor}"
    return Answer(title, "", (begin, most.layer), begin, f"{size} from here on")


def _begin(passages: list[Passage], start: float, gets_small: bool) -> Layer:
    """The first layer, from the loss on, from which the gradient is small, or large, all the way.

    start: the gradient at the last layers
    """
    found = passages[0].layer
    for passage in passages:
        decades = math.log10(passage.leaving / start) if passage.leaving else -math.inf
        if (decades > -LIMITS.small) if gets_small else (decades < LIMITS.large):
            break
        found = passage.layer
    return found


def _steady(passages: list[Passage]) -> str:
    first, last = passages[0], passages[-1]
    if first is last or not last.arriving:
        return f"The gradient arrives at {first.layer.name or 'the layer'}: {short(first.arriving)}"
    factor = short(first.leaving / last.arriving)
    return f"The gradient gets through: ×{factor} from {last.layer.name} to {first.layer.name}"
