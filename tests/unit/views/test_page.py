"""A web page as text, widget and figure; what its button does; and that the page stays within its frame."""

from dataclasses import dataclass

import pytest

from labkit.errors import Unreachable
from labkit.views.page import Page


@dataclass
class Answer:
    page: str = "<h1>Monday</h1>"
    words: str = "Monday"
    told: str = "200 OK"
    server: str = "nginx/1.2.3"


class Site:
    url = "http://127.0.0.1:8080"

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def get(self, path="/"):
        self.asked.append(path)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_the_text_is_the_address_what_the_server_says_and_the_words():
    assert str(Page(Site(Answer()), "/menu")) == "http://127.0.0.1:8080/menu → 200 OK, from nginx\n  Monday"


def test_a_server_that_does_not_say_who_it_is_and_a_page_without_words_are_fine():
    assert str(Page(Site(Answer("", "", "204 No Content", "")))) == "http://127.0.0.1:8080/ → 204 No Content"


def test_long_pages_are_wrapped():
    assert max(map(len, str(Page(Site(Answer(words="word " * 100)))).splitlines())) <= 96


def test_the_frame_has_the_whole_page_and_none_of_it_gets_out():
    html = Page(Site(Answer(page="<p title='a'>\"&amp;</p></iframe><script>alert(1)</script>"))).html()
    inside = html.partition('srcdoc="')[2].partition('"')[0]
    assert inside == "&lt;p title=&#x27;a&#x27;&gt;&quot;&amp;amp;&lt;/p&gt;&lt;/iframe&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
    assert "sandbox=''" in html and html.count("<iframe") == html.count("</iframe>") == 1


def test_the_frame_says_what_it_is_to_who_cannot_see_it():
    html = Page(Site(Answer())).html()
    assert "<iframe title='the page at http://127.0.0.1:8080/'" in html and "<span role='status'" in html


def test_a_look_gets_the_page_anew_in_every_place_where_it_is_shown():
    page = Page(Site(Answer(), Answer("<h1>Tuesday</h1>", "Tuesday")))
    picture, buttons = page.widget().children
    assert "Monday" in picture.value
    (again,) = buttons.children
    again.click()
    assert "Tuesday" in picture.value and "Monday" not in picture.value
    assert page.site.asked == ["/", "/"]


def test_nobody_there_is_said_and_there_is_no_frame():
    page = Page(Site(Unreachable("get http://127.0.0.1:8080/: connection refused")))
    assert str(page) == "http://127.0.0.1:8080/ → no answer: get http://127.0.0.1:8080/: connection refused"
    assert "<iframe" not in page.html()


@pytest.mark.parametrize("answer", [Answer(), Unreachable("nobody")])
def test_the_figure_has_the_same_words(answer):
    axes = Page(Site(answer)).figure().axes[0]
    said = axes.get_title(loc="left") + "".join(text.get_text() for text in axes.texts)
    assert "http://127.0.0.1:8080/" in said and ("Monday" in said) == isinstance(answer, Answer)


def test_in_a_notebook_the_text_comes_along_with_the_widget():
    bundle = Page(Site(Answer()))._repr_mimebundle_()
    assert set(bundle) >= {"application/vnd.jupyter.widget-view+json", "text/plain"}
