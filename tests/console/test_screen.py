"""The node's screen: what fits where, what a shop's manager reads, that the code is legible."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st

from node.canvas import CP437, REPERTOIRE, big, frame, printable
from node.life import STAGES
from node.screen import GOOD_STYLE, PANEL, Abilities, Screen, bar, layout, place
from node.steps import STEP_TYPES
from node.texts import Texts, load
from pairing.events import State
from pairing.language import LANGUAGES, language
from pairing.testing.screens import Terminal, draw
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(1))
EN = load("en")
STEPS = [*STEP_TYPES, *(f"stage-{stage}" for stage in STAGES), "join"]
WAITING = Screen(
    token=TOKEN,
    machine=("tiger", "lemon", "boat"),
    serial="SN-4711",
    addresses=("192.168.1.23",),
    relay="relay.example.net",
)
SIZES = [(80, 24), (80, 25), (100, 37), (128, 48), (160, 50), (240, 67)]


def shown(
    screen: Screen, columns: int, rows: int, able: Abilities | None = None, texts: Texts = EN
) -> Terminal:
    terminal = Terminal(columns, rows)
    terminal.write(frame(layout(screen, columns, rows, able or Abilities(), texts), ()))
    return terminal


def codes(terminal: Terminal) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(draw(terminal).convert("L"))]


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colour", [True, False])
def test_half_blocks_fit_every_console(size: tuple[int, int], colour: bool) -> None:
    terminal = shown(WAITING, *size, Abilities(colour=colour))
    assert codes(terminal) == [TOKEN]
    assert terminal.scrolled == 0
    text = " ".join(terminal.text().split())
    for said in ("tiger lemon boat", "SN-4711", "192.168.1.23", "Do not switch off"):
        assert said in text


@pytest.mark.parametrize("size", [(128, 48), (160, 50), (240, 67)])
@pytest.mark.parametrize("colour", [True, False])
def test_backgrounds_need_no_glyph(size: tuple[int, int], colour: bool) -> None:
    terminal = shown(WAITING, *size, Abilities(half_blocks=False, colour=colour, glyphs=CP437))
    assert codes(terminal) == [TOKEN]
    assert not set(terminal.text()) & set("▀▄█")


@pytest.mark.parametrize(
    ("size", "half_blocks", "scale"),
    [
        ((80, 24), True, 1),
        ((100, 37), True, 1),
        ((128, 48), True, 2),
        ((160, 50), True, 2),
        ((240, 67), True, 3),
        ((128, 48), False, 1),
        ((240, 67), False, 1),
        ((240, 90), False, 2),
    ],
)
def test_the_largest_whole_scale_is_taken(
    size: tuple[int, int], half_blocks: bool, scale: int
) -> None:
    placed = place(TOKEN, *size, half_blocks)
    assert placed is not None
    assert placed.scale == scale


@given(st.integers(1, 400), st.integers(1, 150), st.booleans())
def test_a_placed_code_fits_and_leaves_room_for_words(
    columns: int, rows: int, half_blocks: bool
) -> None:
    placed = place(TOKEN, columns, rows, half_blocks)
    if placed is None:
        least = (41, 21) if half_blocks else (82, 41)
        assert columns < least[0] or rows < least[1]
        return
    assert placed.columns <= columns
    assert placed.rows <= rows
    assert placed.scale == 1 or placed.columns + PANEL < columns


def test_too_small_for_the_code_shows_it_as_text() -> None:
    terminal = shown(WAITING, 80, 24, Abilities(half_blocks=False))
    assert codes(terminal) == []
    lines = [line.strip() for line in terminal.text().splitlines()]
    assert EN.too_small in lines
    start = next(i for i, line in enumerate(lines) if line.startswith("EP1:"))
    assert "".join(lines[start:]).strip() == TOKEN  # blanks at line ends would be lost


states = st.sampled_from(State)
texts = st.text(max_size=120)
screens = st.builds(
    Screen,
    state=states,
    token=st.sampled_from(["", TOKEN, "k" * 212, "k" * 328]),
    weak=st.booleans(),
    smaller=st.sampled_from(["", TOKEN]),
    tried=st.booleans(),
    step_name=texts | st.sampled_from(list(STEP_TYPES)),
    step=texts,
    number=st.integers(0, 99),
    steps=st.integers(0, 99),
    percent=st.none() | st.integers(-5, 200),
    machine=st.tuples(texts, texts),
    compare=st.tuples(texts) | st.just(()),
    serial=texts,
    addresses=st.tuples(texts),
    relay=texts,
    code=texts,
    detail=texts,
    abort_seconds=st.none() | st.integers(0, 30),
    dry_run=st.booleans(),
)


@given(
    screens,
    st.integers(0, 260),
    st.integers(0, 80),
    st.booleans(),
    st.booleans(),
    st.sampled_from(LANGUAGES),
)
def test_no_screen_breaks_the_console(
    screen: Screen, columns: int, rows: int, half_blocks: bool, colour: bool, wish: str
) -> None:
    """Whatever a machine calls itself: nothing scrolls, no foreign control character comes out."""
    able = Abilities(half_blocks=half_blocks, colour=colour)
    lines = layout(screen, columns, rows, able, load(wish))
    terminal = Terminal(max(columns, 20), max(rows, 4))
    written = frame(lines, ())
    terminal.write(written)
    assert terminal.scrolled == 0
    assert "\n" not in written
    assert len(lines) == terminal.rows
    known = REPERTOIRE | set("▀▄█\n ")
    assert set(terminal.text()) <= known


# --- what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "paper"),
    [
        (State.WAITING, 0),
        (State.INSTALLING, 0),
        (State.WRITTEN, 2),
        (State.INSTALLED, 2),
        (State.READY, 2),
        (State.FAILED, 1),
        (State.REFUSED, 1),
        (State.LOCKED, 1),
    ],
)
def test_the_end_is_green_and_a_failure_is_red(state: State, paper: int) -> None:
    terminal = shown(Screen(state=state, code="E603"), 80, 25)
    edge = [terminal.cells[row][column].paper for row in (0, 24) for column in (0, 79)]
    assert edge == [paper] * 4


def test_a_failure_shows_its_code_large_and_in_words() -> None:
    terminal = shown(Screen(state=State.FAILED, code="E603", detail="No space left."), 80, 24)
    text = terminal.text()
    assert "Read this code aloud: E603" in text
    assert "No space left." in text
    assert "You may switch off" in text
    lit = ["".join("#" if cell.paper == 7 else " " for cell in row) for row in terminal.cells]
    block = [row[10 : 10 + len(big("E603")[0])] for row in lit if "#" in row]
    assert tuple(block) == big("E603")


def test_switching_off_is_said_one_way_only() -> None:
    for state in State:
        text = shown(Screen(state=state), 80, 24).text()
        assert (EN.keep_on in text) is not (EN.may_switch_off in text)
        assert Screen(state=state).may_switch_off is (EN.may_switch_off in text)
    for state in (State.INSTALLING, State.REBOOTING, State.LOCKED):
        assert not Screen(state=state).may_switch_off


def test_the_countdown_replaces_do_not_switch_off() -> None:
    screen = Screen(state=State.PLANNED, abort_seconds=27, operator=("camel", "maple", "kiwi"))
    text = shown(screen, 80, 24).text()
    assert "Switch off within 27 seconds" in text
    assert EN.keep_on not in text
    assert "camel maple kiwi" in text


def test_progress_and_words_to_compare() -> None:
    screen = Screen(
        state=State.INSTALLING,
        step="write the image",
        number=3,
        steps=9,
        percent=50,
        compare=("apple", "river", "drum"),
        dry_run=True,
    )
    text = shown(screen, 80, 24).text()
    for said in ("Step 3 of 9", "write the image", "50%", "apple - river - drum", EN.rehearsal):
        assert said in text


@pytest.mark.parametrize("wish", LANGUAGES)
def test_who_is_inside_is_shown_beside_the_code_and_without_one(wish: str) -> None:
    texts = load(wish)
    visitor = ("camel", "maple", "kiwi")
    for screen in (WAITING, Screen(state=State.CLAIMED), Screen(state=State.LOCKED)):
        before = " ".join(shown(screen, 80, 24, texts=texts).text().split())
        assert texts.repair not in before
        now = " ".join(shown(replace(screen, visitor=visitor), 80, 24, texts=texts).text().split())
        assert texts.repair in now
        assert all(word in now for word in visitor)


@pytest.mark.parametrize("wish", LANGUAGES)
def test_after_a_repair_session_nobody_is_told_to_wait(wish: str) -> None:
    texts = load(wish)
    claimed = Screen(state=State.CLAIMED)
    said = shown(replace(claimed, repaired=True), 80, 24, texts=texts).text()
    assert texts.repaired in said
    assert texts.may_switch_off in said
    assert texts.states[State.CLAIMED] not in said
    assert texts.states[State.CLAIMED] in shown(claimed, 80, 24, texts=texts).text()


@pytest.mark.parametrize("wish", LANGUAGES)
@pytest.mark.parametrize("state", State)
def test_a_rehearsal_never_says_that_the_disk_is_ready(state: State, wish: str) -> None:
    texts = load(wish)
    real, tried = (Screen(state=state, dry_run=dry_run) for dry_run in (False, True))
    said = shown(tried, 80, 24, texts=texts).text()
    done = layout(real, 80, 24, Abilities(), texts)[0].startswith(f"\x1b[0;{GOOD_STYLE}m")
    assert (texts.rehearsed in said) is done
    assert (texts.states[state] in said) is not done
    assert (texts.rehearsal in said) is not done
    on_real = shown(real, 80, 24, texts=texts).text()
    assert texts.states[state] in on_real
    assert texts.rehearsed not in on_real
    assert texts.rehearsal not in on_real


@pytest.mark.parametrize("wish", LANGUAGES)
@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_said_in_the_language_of_the_screen(name: str, wish: str) -> None:
    texts = load(wish)
    screen = Screen(state=State.INSTALLING, step_name=name, step="Wipe /dev/sda", number=3, steps=9)
    said = shown(screen, 80, 24, texts=texts).text()
    assert texts.steps[name] in said
    assert "Wipe /dev/sda" not in said
    unknown = replace(screen, step_name="polish-case")
    assert "Wipe /dev/sda" in shown(unknown, 80, 24, texts=texts).text()


@pytest.mark.parametrize("wish", LANGUAGES)
def test_after_the_restart_it_says_that_it_starts_and_what_it_does(wish: str) -> None:
    texts = load(wish)
    goes, starts = (Screen(state=State.REBOOTING, starting=starting) for starting in (False, True))
    assert texts.states[State.REBOOTING] in shown(goes, 80, 24, texts=texts).text()
    said = shown(starts, 80, 24, texts=texts).text()
    assert texts.starting in said
    assert texts.states[State.REBOOTING] not in said
    joining = Screen(state=State.INSTALLED, step_name="join-k3s", step="x", number=1, steps=1)
    said = shown(joining, 80, 24, texts=texts).text()
    assert texts.states[State.INSTALLED] in said
    assert texts.steps["join"] in said
    for over in (State.WRITTEN, State.READY):
        assert texts.steps["join"] not in shown(replace(joining, state=over), 80, 24).text()


@given(st.integers(-10, 300), st.integers(1, 120))
def test_bar(percent: int, width: int) -> None:
    text = bar(percent, width)
    assert len(text) == max(width, 8)
    assert ("." not in text) is (percent >= 100)
    assert ("#" not in text) is (percent * max(1, width - 7) < 100)


def test_the_token_is_not_in_the_representation() -> None:
    assert TOKEN not in repr(WAITING)


# --- languages ----------------------------------------------------------------------------------


def everything(texts: Texts) -> list[str]:
    rest = (getattr(texts, name) for name in Texts.__slots__ if name not in ("states", "steps"))
    return [*texts.states.values(), *texts.steps.values(), *rest]


@pytest.mark.parametrize("wish", LANGUAGES)
def test_every_text_is_short_and_can_be_shown(wish: str) -> None:
    texts = load(wish)
    assert set(texts.states) == set(State)
    assert list(texts.steps) == STEPS
    assert len(set(texts.steps.values())) == len(STEPS)
    for text in everything(texts):
        assert 1 <= len(text.split()) <= 8, text
        assert text == printable(text), text
        # What the kernel's own font lacks is shown without its accent, not as a hole.
        assert "?" not in printable(text.replace("?", ""), CP437), text
    if wish != "en":
        assert sum(a == b for a, b in zip(everything(texts), everything(EN), strict=True)) <= 2


@pytest.mark.parametrize("wish", LANGUAGES)
@pytest.mark.parametrize("state", State)
def test_no_text_is_cut_at_80x24(wish: str, state: State) -> None:
    texts = load(wish)
    token = TOKEN if state is State.WAITING else ""
    screen = replace(WAITING, state=state, token=token, code="E431", number=3, steps=9)
    said = " ".join(shown(screen, 80, 24, texts=texts).text().split())
    assert texts.states[state].split()[-1] in said
    power = texts.may_switch_off if screen.may_switch_off else texts.keep_on
    assert power in said
    assert "relay.example.net" in said


def test_languages_are_chosen_by_their_short_name() -> None:
    assert [language(wish) for wish in ("de_DE.UTF-8", "pt-BR", "FR", "xx", "", "C.UTF-8")] == [
        *("de", "pt", "fr", "en", "en", "en")
    ]
    assert load("de").keep_on == "Nicht ausschalten"


def test_printable_keeps_terminals_safe() -> None:
    assert printable("SN\x1b[2J\x07\n1\u202e2\u00a0\u00ad3") == "SN?[2J? 1?2 ?3"
    assert printable("Não", CP437) == "Nao"
    assert printable("Não") == "Não"
    assert printable("漢") == "?"
