"""The book under a finger on a phone, and under a keyboard alone."""

from urllib.parse import quote

import pytest

from tests.book import browser, driven

PHONE = 390  # pixels, of a common phone
PAGES = ("index", "static", "explorer", "glossary", "status", "claims")
NUMBER = "article button.q-number"
OPEN = "document.querySelectorAll('[popover]:popover-open').length"
FOLDED = "article details.hide"
WIDE = "article .pst-scrollable-table-container"
LEFT = f"document.querySelector({WIDE!r}).scrollLeft"
# What can be scrolled sideways and cannot be reached by Tab.
UNREACHED = """[...document.querySelectorAll("article *")].filter((e) =>
  /auto|scroll/.test(getComputedStyle(e).overflowX) && e.clientWidth > 0
  && e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0 && !e.closest("[popover]")
).map((e) => e.outerHTML.slice(0, 80))"""

pytestmark = browser.needed


def focus(page, selector):
    """Bring the keyboard to an element: Tab must come to it from the one before it."""
    here = f"document.activeElement === document.querySelector({selector!r})"
    page.run(f"document.querySelector({selector!r}).focus()")
    page.press("Tab", shift=True)
    assert not page.run(here)
    page.press("Tab")
    assert page.run(here)


@pytest.mark.parametrize("dark", [False, True])
def test_no_page_is_wider_than_a_phone_and_all_that_scrolls_is_reached(
    html, tmp_path, dark
):
    first = html / "chapters" / "index.html"
    with driven.opened(first, tmp_path, width=PHONE, dark=dark) as page:
        for name in PAGES:
            page.show(html / "chapters" / f"{name}.html", width=PHONE, dark=dark)
            assert page.run("document.documentElement.scrollWidth") <= PHONE, name
            page.until("document.documentElement.dataset.theme")
            shown = page.run("document.documentElement.dataset.theme")
            assert shown == ("dark" if dark else "light")
            page.until(f"({UNREACHED}).length === 0")


def test_a_finger_opens_numbers_and_cells_and_moves_tables(html, tmp_path):
    static = html / "chapters" / "static.html"
    with driven.opened(static, tmp_path, width=PHONE) as page:
        page.tap(NUMBER)
        page.until(f"{OPEN} === 1")
        box = page.run(
            "(b => [b.left, b.right])(document.querySelector('[popover]:popover-open')"
            ".getBoundingClientRect())"
        )
        assert 0 <= box[0] < box[1] <= PHONE
        page.touch((4, driven.HEIGHT - 4))  # anywhere else
        page.until(f"{OPEN} === 0")
        page.tap(f"{FOLDED} > summary")
        page.until(f"document.querySelector({FOLDED!r}).open")
        page.show(html / "chapters" / "index.html", width=PHONE)
        page.swipe(f"{WIDE} thead", (0.5, 0.1))
        page.until(f"{LEFT} > 20")


def test_a_keyboard_opens_numbers_and_cells_and_moves_tables(html, tmp_path):
    with driven.opened(html / "chapters" / "static.html", tmp_path, width=590) as page:
        focus(page, NUMBER)
        for key in ("Enter", "Space"):
            page.press(key)
            page.until(f"{OPEN} === 1")
            page.press("Escape")
            page.until(f"{OPEN} === 0")
        focus(page, f"{FOLDED} > summary")
        for key, opened in (("Enter", "true"), ("Space", "false")):
            page.press(key)
            page.until(f"document.querySelector({FOLDED!r}).open === {opened}")
    with driven.opened(html / "chapters" / "index.html", tmp_path, width=PHONE) as page:
        page.until(f"document.querySelector({WIDE!r}).tabIndex === 0")
        focus(page, WIDE)
        page.press("ArrowRight")
        page.until(f"{LEFT} > 0")


def test_the_explorer_is_worked_by_a_finger_and_by_keys(html, tmp_path):
    explorer = html / "chapters" / "explorer.html"
    value = "Number(document.querySelector('[name=x]').value)"
    with driven.opened(explorer, tmp_path, width=PHONE) as page:
        page.tap(".explorer svg", x=0.25)
        left = page.run(value)
        page.swipe(".explorer svg", (0.25, 0.75))
        right = page.run(value)
        assert -1.1 < left < -0.3 and 0.3 < right < 1.1
        page.tap(".explorer svg", x=0)  # beyond the last code: the line does not grow
        assert page.run(value) >= -1.1
        page.tap("[name=bits]")
        page.until("document.activeElement.name === 'bits'")
        focus(page, ".explorer svg")
        before = page.run(value)
        page.press("ArrowRight")
        once = page.run(value)
        page.press("ArrowRight", shift=True)
        assert before < once < page.run(value)


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("phone", "scope"),
        ("ARM", "elsewhere"),
        ("Android", "scope"),
        ("4 bit", "glossary"),
        ("4 bit", "scope"),
        ("양자화", "glossary"),
        ("양자화", "static"),
    ],
)
def test_the_search_page_lists_what_readers_ask_for(html, tmp_path, words, page):
    search = f"{(html / 'search.html').as_uri()}?q={quote(words)}"
    with driven.opened(search, tmp_path) as shown:
        # Results come one after the other, and then the sentence that counts them.
        shown.until(
            "/\\d/.test(document.querySelector('.search-summary')?.textContent)"
        )
        shown.until(
            "[...document.querySelectorAll('ul.search a')].some((a) => "
            f"a.href.includes('chapters/{page}.html'))"
        )
