"""The tree of who shares what: text, widget and figure of the same facts."""

import pytest

from labkit.errors import InvalidInput, NotFound
from labkit.linux import namespaces
from labkit.linux.namespaces import Namespace
from labkit.views.namespaces import NamespaceTree

MACHINE = {
    1: {"mnt": 10, "uts": 20, "net": 30},
    2: {"mnt": 10, "uts": 21, "net": 31},
    3: {"mnt": 11, "uts": 20, "net": 31},
}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    processes = {pid: dict(spaces) for pid, spaces in MACHINE.items()}

    def of(pid):
        if pid not in processes:
            raise NotFound(f"process {pid}")
        return {kind: Namespace(kind, inode) for kind, inode in processes[pid].items()}

    monkeypatch.setattr(namespaces, "of", of)
    return processes


def test_the_text_groups_the_processes_of_each_kind_by_namespace():
    assert str(NamespaceTree(host=1, box=2, mate=3)).splitlines() == [
        "mnt     ─┬─ host, box",
        "         └─ mate",
        "uts     ─┬─ host, mate",
        "         └─ box",
        "net     ─┬─ host",
        "         └─ box, mate",
    ]


def test_what_all_share_is_one_line():
    assert str(NamespaceTree(a=1, b=1)) == "mnt     ─── a, b\nuts     ─── a, b\nnet     ─── a, b"


def test_three_apart_make_a_branch_in_the_middle(machine):
    machine[3]["uts"] = 22
    assert " ├─ box" in str(NamespaceTree(host=1, box=2, mate=3))


def test_a_process_that_has_ended_is_left_out_and_named():
    assert str(NamespaceTree(host=1, box=99)).endswith("box has ended")


def test_at_least_one_process_is_needed():
    with pytest.raises(InvalidInput, match="name at least one"):
        NamespaceTree()


def test_a_bar_reaches_over_neighbours_that_share_and_a_letter_marks_the_others():
    html = NamespaceTree(host=1, box=2, mate=3).html()
    assert "colspan='2'" in html
    mnt, uts, net = html.split("<tr>")[2:]
    assert [row.count("<td colspan") for row in (mnt, uts, net)] == [2, 3, 2]
    assert uts.index(">A<") < uts.index(">B<") < uts.rindex(">A<")


def test_the_words_say_what_the_colours_say():
    html = NamespaceTree(host=1, box=2).html()
    assert "shared by all" in html and "2 namespaces" in html


def test_names_are_escaped():
    assert "<b>" not in NamespaceTree(**{"<b>": 1}).html()


def test_look_again_shows_what_has_changed_and_nothing_changes_before(machine):
    tree = NamespaceTree(host=1, box=2)
    picture, buttons = tree.widget().children
    machine[2]["uts"] = 20
    assert "─┬─ host\n         └─ box" in str(tree)
    again = buttons.children[0]
    assert again.description == "Look again"
    again.click()
    assert "uts     ─── host, box" in str(tree)
    assert picture.value == tree.html()


def test_a_tick_shows_the_inode_numbers():
    tree = NamespaceTree(host=1, box=2)
    picture, buttons = tree.widget().children
    assert "uts:[21]" not in picture.value
    buttons.children[1].value = True
    assert "uts:[21]" in picture.value


def test_a_notebook_gets_the_text_beside_the_widget():
    bundle = NamespaceTree(host=1)._repr_mimebundle_()
    assert bundle["text/plain"].startswith("mnt     ─── host")
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_shown_twice_it_is_one_widget():
    tree = NamespaceTree(host=1)
    assert tree.widget() is tree.widget()


def test_the_figure_has_a_row_for_each_kind_and_a_column_for_each_process():
    figure = NamespaceTree(host=1, box=2).figure()
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[:2] == ["host", "box"]
    assert {"mnt", "uts", "net"} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")
