"""The page in a real headless browser: it loads, is silent, answers mouse and keyboard, and fits a phone."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from multirun_analysis.load import load
from multirun_analysis.report import FILE, page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CURVES = "document.getElementById('curves-plot')"


@pytest.fixture
def tab(chromium: Chrome, page_url: str) -> Iterator[Chrome]:
    """Open the page anew on a desktop; what is written to the console must be nothing."""
    _screen(chromium, 1280, 900)
    chromium.get(page_url)
    until(chromium, f"return {CURVES}.data && {CURVES}.data.length > 0")
    yield chromium
    assert chromium.get_log("browser") == []
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def _screen(browser: Chrome, width: int, height: int, *, mobile: bool = False) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def until(browser: Chrome, script: str) -> Any:
    return WebDriverWait(browser, 60).until(lambda one: one.execute_script(script))


def shown_lines(browser: Chrome) -> int:
    """Count the lines (not the bands) that are drawn."""
    return int(
        browser.execute_script(
            f"return {CURVES}.data.filter((one) => one.mode === 'lines+markers' && one.visible !== false).length"
        )
    )


def drawn_paths(browser: Chrome) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, "#curves-plot .scatterlayer .trace .points"))


def by_id(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.ID, name)


def test_it_loads_by_itself(tab: Chrome) -> None:
    assert tab.title == "mixed: report of the study"
    assert tab.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)") == []
    assert shown_lines(tab) == 4 * 2 * 2
    assert tab.execute_script(f"return Object.keys({CURVES}.layout).filter((name) => /^xaxis/.test(name)).length") == 2


def test_hover_shows_the_value(tab: Chrome) -> None:
    point = tab.find_element(By.CSS_SELECTOR, "#curves-plot .scatterlayer .points path")
    tab.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(tab).move_to_element(point).perform()
    said = until(
        tab,
        "const found = document.querySelector('#curves-plot .hoverlayer .hovertext');return found && found.textContent",
    )
    trace = tab.execute_script(f"return {CURVES}.data.find((one) => one.mode === 'lines+markers')")
    assert trace["name"].split(",")[0] in said
    assert f"test accuracy {100 * trace['y'][0]:.2f} %" in said
    assert "level 0, 100 % remaining" in said
    assert "over 3 seeds" in said


def test_a_switch_hides_a_line_and_shows_it_again(tab: Chrome) -> None:
    before = drawn_paths(tab)
    tab.find_element(By.CSS_SELECTOR, "#switch-lines input[value='kaiming_u']").click()
    assert shown_lines(tab) == 12
    until(tab, f"return document.querySelectorAll('#curves-plot .scatterlayer .trace .points').length < {before}")
    assert "12 of 16 lines" in by_id(tab, "curves-plot-says").text
    # by the keyboard: the switch is drawn anew and has to be found again
    tab.find_element(By.CSS_SELECTOR, "#switch-lines input[value='kaiming_u']").send_keys(Keys.SPACE)
    assert shown_lines(tab) == 16
    tab.find_element(By.CSS_SELECTOR, "#switch-arms input[value='reinit']").send_keys(Keys.SPACE)
    assert shown_lines(tab) == 8


def test_all_lines_or_none(tab: Chrome) -> None:
    switches = by_id(tab, "switch-lines")
    for text, lines in (("None", 0), ("All", 16)):
        switches.find_element(By.XPATH, f".//button[text()='{text}']").send_keys(Keys.ENTER)
        assert shown_lines(tab) == lines
        assert len(switches.find_elements(By.CSS_SELECTOR, "input:checked")) == lines // 4


def test_a_switch_keeps_the_focus(tab: Chrome) -> None:
    switch = tab.find_element(By.CSS_SELECTOR, "#switch-lines input[value='kaiming_u']")
    switch.send_keys(Keys.SPACE)
    assert tab.execute_script("return document.activeElement.value") == "kaiming_u"


def test_axes_and_panels_are_chosen(tab: Chrome) -> None:
    Select(by_id(tab, "choose-metric")).select_by_value("test_loss")
    assert tab.execute_script(f"return {CURVES}.layout.yaxis.title.text") == "test loss"
    losses = tab.execute_script(f"return {CURVES}.data.find((one) => one.mode === 'lines+markers').y")
    lines = tab.execute_script("return JSON.parse(document.getElementById('data').textContent).curves.lines")
    assert losses == lines[0]["values"]["test_loss"][0]
    Select(by_id(tab, "choose-x")).select_by_value("level")
    assert tab.execute_script(f"return {CURVES}.layout.xaxis.title.text") == "level"
    assert (
        tab.execute_script(f"return {CURVES}.data.find((one) => one.mode === 'lines+markers').x") == lines[0]["level"]
    )
    Select(by_id(tab, "choose-row")).select_by_value("init")
    assert "16 of 16 lines in 8 panels" in by_id(tab, "curves-plot-says").text
    Select(by_id(tab, "choose-col")).select_by_value("init")
    assert "16 of 16 lines in 4 panels" in by_id(tab, "curves-plot-says").text
    Select(by_id(tab, "choose-scale")).select_by_value("same")
    assert tab.execute_script(f"return {CURVES}.layout.yaxis2.matches") == "y"


def test_the_table_beside_a_plot_has_its_values(tab: Chrome) -> None:
    by_id(tab, "curves-plot-values").find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    until(tab, "return document.querySelectorAll('#curves-plot-values tbody tr').length > 0")
    rows = tab.execute_script(
        "return [...document.querySelectorAll('#curves-plot-values tbody tr')]"
        ".map((row) => [...row.cells].map((one) => one.textContent))"
    )
    lines = tab.execute_script("return JSON.parse(document.getElementById('data').textContent).curves.lines")
    assert len(rows) == sum(len(line["level"]) for line in lines) == 8 * 7 + 8 * 6
    mean, low, high = (part[1] for part in lines[0]["values"]["test_accuracy"])
    assert rows[1][0] == ", ".join(lines[0]["config"])
    assert rows[1][4:] == [f"{100 * value:.2f} %" for value in (mean, low, high)] + ["3"]


def test_another_pair_draws_another_difference(tab: Chrome) -> None:
    pair = Select(by_id(tab, "choose-pair"))
    plot = "document.getElementById('difference-plot')"
    first = tab.execute_script(f"return {plot}.data[1].y")
    pair.select_by_index(len(pair.options) - 1)
    assert tab.execute_script(f"return {plot}.data[1].y") != first
    assert pair.first_selected_option.text in by_id(tab, "difference-plot-says").text


def test_everything_is_reached_by_the_keyboard_and_seen(tab: Chrome) -> None:
    reached = []
    for _ in range(400):
        ActionChains(tab).send_keys(Keys.TAB).perform()
        found = tab.execute_script(
            "const one = document.activeElement; const style = getComputedStyle(one);"
            "return one === document.body ? null : [one.id || one.className || one.value || one.textContent"
            ", one.tagName, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]"
        )
        if found is None:
            break
        reached.append(tuple(found))
    names = [name for name, *_ in reached]
    assert names[0] == "skip"
    wanted = [
        "choose-metric",
        "choose-x",
        "choose-col",
        "choose-row",
        "choose-pair",
        "choose-setting",
        "xavier_u",
        "copy",
    ]
    assert set(wanted) <= set(names)
    assert sum(tag == "SUMMARY" for _, tag, _ in reached) == 4
    assert [name for name, _, seen in reached if not seen] == []


def test_a_command_can_be_copied(tab: Chrome) -> None:
    button = tab.find_element(By.CSS_SELECTOR, "#all-cells button.copy")
    button.send_keys(Keys.ENTER)
    said = until(tab, "return document.getElementById('copied').textContent")
    selected = tab.execute_script("return getSelection().toString()")
    assert "python -m ltsweep" in (said + selected)


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_scrolls_one_way_only(tab: Chrome, width: int) -> None:
    _screen(tab, width, 800, mobile=True)
    tab.refresh()
    until(tab, f"return {CURVES}.data && {CURVES}.data.length > 0")
    until(tab, "return document.documentElement.scrollWidth <= innerWidth")
    assert tab.execute_script("return innerWidth") == width
    widths = tab.execute_script(
        "return [...document.querySelectorAll('.js-plotly-plot')].map((one) => one.querySelector('svg').clientWidth)"
    )
    assert all(0 < found <= width for found in widths)
    if width < 640:  # one panel under the other
        assert tab.execute_script(f"return {CURVES}.layout.xaxis2.domain[0]") == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1280])
def test_no_column_is_outside_its_box(tab: Chrome, width: int) -> None:
    _screen(tab, width, 900, mobile=width < 640)
    tab.refresh()
    until(tab, f"return {CURVES}.data && {CURVES}.data.length > 0")
    tab.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    until(tab, "return document.querySelectorAll('#curves-plot-values tbody tr').length > 0")
    outside = tab.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth)"
        ".map((one) => [one.textContent.trim().slice(0, 40), one.scrollWidth, one.clientWidth])"
    )
    assert outside == []
    cut = tab.execute_script(
        "return [...document.querySelectorAll('td, th')].filter((one) => one.offsetParent"
        " && one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.slice(0, 40))"
    )
    assert cut == []
    page = tab.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert page[0] <= page[1]


def test_a_table_is_one_where_there_is_room_and_cards_where_not(tab: Chrome) -> None:
    cards = "return document.getElementById('all-cells').classList.contains('cards')"
    for width, has_cards in ((1280, False), (768, True), (1280, False)):  # a window that changes, not a page anew
        _screen(tab, width, 900)
        until(tab, f"{cards} === {str(has_cards).lower()}")
    details = tab.find_elements(By.CSS_SELECTOR, "#choices details, #claims details")
    _screen(tab, 390, 900)
    tab.execute_script("arguments[0].forEach((one) => { one.open = true; })", details)
    until(tab, "return document.getElementById('contests').classList.contains('cards')")


def test_on_a_phone_each_value_has_the_name_of_its_column(tab: Chrome) -> None:
    _screen(tab, 390, 800, mobile=True)
    names = tab.execute_script(
        "const row = document.querySelectorAll('#verdicts tbody tr, #effects tbody tr')[1];"
        "return [...row.querySelectorAll('td')].map((one) => getComputedStyle(one, '::before').content)"
    )
    assert names == [
        f'"{name}: "'
        for name in ("Question", "Difference", "95 % interval", "Seeds", "Settings", "p (Holm)", "What the data tell")
    ]


def test_the_dense_network_is_a_dotted_line_that_can_be_switched_off(tab: Chrome) -> None:
    dotted = f"return {CURVES}.data.filter((one) => one.line?.dash === 'dot' && one.visible !== false)"
    lines = tab.execute_script("return JSON.parse(document.getElementById('data').textContent).curves.lines")
    dense = sorted(line["values"]["test_accuracy"][0][0] for line in lines if line["arm"] == "ticket")
    found = tab.execute_script(f"{dotted}.map((one) => one.y)")
    assert sorted(low for low, _ in found) == dense
    assert all(low == high for low, high in found)
    tab.find_element(By.CSS_SELECTOR, "#switch-arms input[value='dense']").send_keys(Keys.SPACE)
    assert tab.execute_script(dotted) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(tab: Chrome, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    tab.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
    colors = tab.execute_script(
        "const ground = getComputedStyle(document.body).backgroundColor;"
        "return ['body', 'a[href=\"#run\"]', '.small', '.done', '.failed', '.running', 'select', 'summary']"
        ".map((name) => [name, getComputedStyle(document.querySelector(name)).color, ground])"
    )
    light = _luminance(colors[0][2]) > 0.5
    assert light == (scheme == "light")
    for name, ink, ground in colors:
        high, low = sorted((_luminance(ink), _luminance(ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ink, ground)


def _luminance(color: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_on_paper_there_are_all_rows_a_legend_and_no_controls(tab: Chrome) -> None:
    tab.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    hidden = tab.execute_script(
        "return [...document.querySelectorAll('nav, select, input, button')].every((one) => one.offsetParent === null)"
    )
    assert hidden
    assert by_id(tab, "switch-lines").is_displayed()  # the legend
    heights = tab.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter((one) => one.offsetParent)"
        ".map((one) => [one.clientHeight, one.scrollHeight])"
    )
    assert all(scroll <= client + 1 for client, scroll in heights)


def test_a_window_that_changes_keeps_what_is_below_a_plot_below_it(tab: Chrome) -> None:
    for width, height in ((1000, 2400), (1280, 500)):
        _screen(tab, width, height)
        until(
            tab, f"return {CURVES}.querySelector('svg').clientWidth < {width} && {CURVES}.clientWidth > {width} - 100"
        )
        below = "document.getElementById('curves-plot-says').getBoundingClientRect().top"
        until(tab, f"return {CURVES}.querySelector('svg').getBoundingClientRect().bottom <= {below} + 1")


def test_plots_are_made_to_fit_paper_and_back(tab: Chrome) -> None:
    widths = "return [...document.querySelectorAll('.plot .main-svg')].map((one) => one.clientWidth)"
    before = tab.execute_script(widths)
    tab.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert max(tab.execute_script(widths)) == 680
    assert tab.execute_script(f"return {CURVES}.layout.font.color") == "#000"
    tab.execute_script("dispatchEvent(new Event('afterprint'))")
    until(tab, f"return {min(before)} <= Math.min(...(() => {{ {widths} }})())")
    assert tab.execute_script(widths) == before
    assert min(before) > 1000


def test_headings_are_in_order_and_regions_named(tab: Chrome) -> None:
    levels = tab.execute_script("return [...document.querySelectorAll('h1, h2, h3')].map((one) => +one.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for tag in ("header", "nav", "main"):
        assert len(tab.find_elements(By.TAG_NAME, tag)) == 1
    unnamed = tab.execute_script(
        "return [...document.querySelectorAll('select, input, button, [role=img], [role=region], figure')]"
        ".filter((one) => !(one.labels && one.labels.length) && !one.ariaLabel && !one.textContent.trim()"
        " && !one.getAttribute('aria-labelledby')).length"
    )
    assert unnamed == 0


def test_names_are_text_and_never_markup(chromium: Chrome, write: Callable[..., str], tmp_path: Path) -> None:
    bad = "<b>bold</b>&amp;</script><img src=x onerror=\"document.title='run'\">"
    for init in (bad, "xavier_u"):
        write(tmp_path / "named", init=init, levels=1, epochs=1)
    path = tmp_path / FILE
    path.write_bytes(page(load(tmp_path / "named"), [], tmp_path))
    chromium.get_log("browser")
    chromium.get(path.as_uri())
    until(chromium, f"return {CURVES}.data && {CURVES}.data.length > 0")
    assert chromium.title == "named: report of the study"
    labels = [label.text for label in chromium.find_elements(By.CSS_SELECTOR, "#switch-lines label")]
    assert any(bad in label for label in labels)
    Select(by_id(chromium, "choose-col")).select_by_value("init")
    titles = [title.text for title in chromium.find_elements(By.CSS_SELECTOR, "#curves-plot .annotation-text")]
    assert f"init = {bad}" in titles
    assert chromium.find_elements(By.TAG_NAME, "img") == []
    assert chromium.get_log("browser") == []
