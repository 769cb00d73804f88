"""The most telling sentences of a transcript, found without a language model and in any language.

Sentences are ranked by continuous LexRank (Erkan and Radev, "LexRank: Graph-based Lexical Centrality as Salience in
Text Summarization", JAIR 22, 2004, section 3.3): a sentence counts that is similar to many that count. Similarity is
the cosine of tf-idf vectors, with idf from the transcript's own sentences. They are picked by maximal marginal
relevance (Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking", SIGIR 1998): no two say the same.

The matrix of similarities is never made: it is the product of the sparse vectors with themselves, and the ranking only
needs its products with a vector. Time and memory grow with the number of words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bot.core.sentences import Sentence

DAMPING = 0.15
"""Share of the random jump; Erkan and Radev use 0.1 to 0.2."""

RELEVANCE = 0.7
"""MMR's lambda: the weight of relevance, the rest being that of novelty."""

FULL_WEIGHT_TERMS = 16.0
"""A sentence with this many terms of average weight counts in full, one with fewer by its share: else "Yeah, okay"
wins, since half of a meeting is similar to it. It decides most. Of the key facts of the five texts in the tests, five
to eight sentences hold 0.56 at 8, 0.59 at 12, 0.67 at 16 and 0.64 at 30; picked at random 0.23, the first ones 0.15."""

EDGE_BONUS = 0.15
"""What the first and the last sentence gain: at the start people say what it is about, at the end what follows."""

EDGE_SHARE = 0.1
"""The bonus falls to nothing over this share of the sentences, from either end."""

STEM_CHARS = 6
"""Words are compared by their first letters, which in most languages holds inflected forms together. A shorter word
weighs less, by its share of this length: without lists of stop words, length tells in every language how much a word
says (Piantadosi, Tily and Gibson, "Word lengths are optimized for efficient communication", PNAS 108, 2011)."""

KANA_WEIGHT = 0.3
"""Weight of a pair of Hiragana, which mostly are endings and particles."""

_ITERATIONS = 60
_CONVERGED = 1e-9

# Scripts that are written without spaces: compared by pairs of characters.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_HIRAGANA = re.compile(r"[\u3040-\u309f]+")


def key_sentences(sentences: Sequence[Sentence], count: int) -> tuple[Sentence, ...]:
    """The ``count`` most telling of ``sentences``, in their own order; all of them if there are no more.

    The same arguments always give the same result.
    """
    if len(sentences) <= count:
        return tuple(sentences)
    vectors = _Vectors.of([_terms(sentence.text) for sentence in sentences])
    scores = _centrality(vectors) * vectors.weight_share() * _position_bonus(len(sentences))
    return tuple(sentences[index] for index in sorted(_diverse(vectors, scores, count)))


def _terms(text: str) -> list[str]:
    """What a sentence is compared by: the beginnings of words, or pairs of characters where there are no words."""
    terms: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if _IS_UNSPACED.match(run):
            terms += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
        else:
            terms.append(run[:STEM_CHARS])
    return terms


def _term_weight(term: str) -> float:
    if _IS_UNSPACED.match(term):
        return KANA_WEIGHT if _HIRAGANA.fullmatch(term) else 1.0
    return min(1.0, len(term) / STEM_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Vectors:
    """Sparse tf-idf vectors of length 1, one a sentence: entry i is ``values[i]`` at ``rows[i], columns[i]``.

    A sentence that repeats an earlier one word for word has an empty vector: what is said ten times ("Thank you.") is
    not ten times as telling. ``mass`` is the sum of the weights of a sentence's terms.
    """

    count: int
    terms: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    values: NDArray[np.float64]
    mass: NDArray[np.float64]

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]]) -> _Vectors:
        """Weigh the terms of ``texts``."""
        seen: set[tuple[str, ...]] = set()
        column_of: dict[str, int] = {}
        rows: list[int] = []
        columns: list[int] = []
        counts: list[int] = []
        for row, terms in enumerate(texts):
            if (key := tuple(terms)) in seen:
                continue
            seen.add(key)
            for term, count in Counter(terms).items():
                rows.append(row)
                columns.append(column_of.setdefault(term, len(column_of)))
                counts.append(count)
        row_index, column_index = np.array(rows, dtype=np.intp), np.array(columns, dtype=np.intp)
        frequency = _sums(column_index, np.ones(len(columns)), len(column_of))
        # dict keeps the order of insertion, so this is by column.
        importance = np.array([_term_weight(term) for term in column_of], dtype=np.float64)
        weight = (importance * np.log(len(seen) / np.maximum(frequency, 1)))[column_index]
        values = np.array(counts, dtype=np.float64) * weight
        norms = np.sqrt(_sums(row_index, values**2, len(texts)))
        return cls(
            count=len(texts),
            terms=len(column_of),
            rows=row_index,
            columns=column_index,
            values=values / np.maximum(norms, np.finfo(np.float64).tiny)[row_index],
            mass=_sums(row_index, weight, len(texts)),
        )

    def similar(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The matrix of cosines times ``weights``."""
        by_term = _sums(self.columns, self.values * weights[self.rows], self.terms)
        return _sums(self.rows, self.values * by_term[self.columns], self.count)

    def weight_share(self) -> NDArray[np.float64]:
        """How far each sentence has the substance of `FULL_WEIGHT_TERMS` average terms, from 0 to 1."""
        average = self.mass.sum() / max(1, len(self.rows))
        return np.minimum(1.0, self.mass / max(FULL_WEIGHT_TERMS * average, np.finfo(np.float64).tiny))


def _sums(index: NDArray[np.intp], weights: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """For each number below ``size``, the sum of the weights where it stands in ``index``."""
    return np.bincount(index, weights=weights, minlength=size).astype(np.float64)


def _centrality(vectors: _Vectors) -> NDArray[np.float64]:
    """Continuous LexRank, by power iteration; the largest is 1."""
    # Every vector is similar to itself by 1; only empty ones fall below.
    degree = np.maximum(vectors.similar(np.ones(vectors.count)), 1.0)
    rank = np.full(vectors.count, 1 / vectors.count)
    for _ in range(_ITERATIONS):
        after = DAMPING / vectors.count + (1 - DAMPING) * vectors.similar(rank / degree)
        moved = float(np.abs(after - rank).sum())
        rank = after
        if moved < _CONVERGED:
            break
    return rank / rank.max()


def _position_bonus(count: int) -> NDArray[np.float64]:
    place = np.arange(count) / max(1, count - 1)
    edge = np.minimum(place, 1 - place)
    return 1 + EDGE_BONUS * np.maximum(0.0, 1 - edge / EDGE_SHARE)


def _diverse(vectors: _Vectors, scores: NDArray[np.float64], count: int) -> list[int]:
    """Indices picked by MMR; of equals, the earlier one."""
    relevance = scores / max(float(scores.max()), np.finfo(np.float64).tiny)
    likeness = np.zeros(vectors.count)
    # Repetitions and sentences without a word come after all others, however unlike the picked ones they are.
    handicap = np.where(vectors.mass > 0, 0.0, 1.0)
    picked: list[int] = []
    for _ in range(count):
        best = int((RELEVANCE * relevance - (1 - RELEVANCE) * likeness - handicap).argmax())
        picked.append(best)
        handicap[best] = np.inf
        chosen = np.zeros(vectors.count)
        chosen[best] = 1.0
        likeness = np.maximum(likeness, vectors.similar(chosen))
    return picked
