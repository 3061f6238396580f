"""A verdict says in words and with a sign whether an exercise is done."""

from labkit.lessons.verdict import failed, passed


def test_a_pass_shows_a_tick_and_the_evidence():
    verdict = passed("`uts` differs.")
    assert verdict and repr(verdict) == "✔ `uts` differs."


def test_a_failure_shows_a_cross_the_symptom_and_what_to_try_next():
    verdict = failed("Both share uts.", "Read `man 7 uts_namespaces`.")
    assert not verdict and repr(verdict) == "✘ Both share uts.\n  Next: Read `man 7 uts_namespaces`."


def test_the_card_says_with_a_sign_and_a_word_what_its_colour_says():
    assert "title='done'>✔" in passed("x")._repr_html_()
    assert "title='not yet'>✘" in failed("x", "y")._repr_html_()


def test_the_card_escapes_what_it_shows_and_sets_code_apart():
    card = failed("a <b> & `ls -l`", "z")._repr_html_()
    assert "a &lt;b&gt; &amp; <code>ls -l</code>" in card
