"""Texts that must stay unchanged although they resemble markup, refusals or prefaces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.profiles.llm.material import user_message
from spike_dgl.profiles.llm.prompts import load_prompts
from spike_dgl.profiles.llm.rejections import Candidate, rejection
from spike_dgl.profiles.llm.unwrap import unwrap
from spike_dgl.profiles.words import num_words, tokens
from tests.profiles.server_replies import REJECTED, REQUEST, TEXT, WRAPPED

PROFILES = [
    TEXT,
    "Analysis of a Murder is a courtroom drama about Heat and law.",
    "analysis, thought and reasoning are the themes of Heat, which thinks aloud.",
    "Here Comes the Heat (1995) is a comedy: a good one.",
    "Here is a film that asks one question about crime: who pays?",
    "Sure, Heat is slow. It is also exact.",
    "Sure Thing, The (1985) is a comedy of crime and manners.",
    "Of course everybody wants the money; Heat shows what it costs.",
    "Okay Jazz Is a Crime is a record by nobody.",
    "Great Heat (1995) is a drama.",
    "Certainly one of Al Pacino's loudest roles.",
    "Answer Me, Heat is a thriller.",
    "Profile of a Killer (2012) is a crime film.",
    "Below is the police, above is the crime: Heat has two worlds.",
    "Note: the crime of the title is a bank robbery.",
    "I, Robot is a crime story about machines.",
    "I Can't Help Myself is a song of crime by the Four Tops.",
    "I’m Sorry is a song of crime by Brenda Lee.",
    "Sorry We Missed You follows a delivery driver into crime.",
    "As an album, Kid A divides its listeners; as crime it is Heat.",
    "As an Aide to the president, she sees every crime.",
    "Unfortunately, the sequel lost the wit of the first crime film.",
    "Unfortunately for the thief, Heat knows its police.",
    "I Am Unable to Sleep is a short film about crime.",
    "Please Don't Touch Anything is a crime game.",
    "How Can I Help Falling in Love is a crime of a song.",
    "It Seems Like Yesterday is a crime drama.",
    "Hello, Dolly! is a musical, and no crime.",
    "No Information is a crime film of 1995.",
    "No (2012) is Pablo Larraín's drama about a crime of state.",
    "None Shall Escape (1944) puts a crime on trial.",
    "N.W.A. and Al Pacino share a city, and its crime.",
    "Null and Void is a crime thriller.",
    "Yes is a band; Heat is a film.",
    'The one and only "Heat" {1995} [sic] stars Al Pacino.',
    "[REC] is a crime of a horror film.",
    "f(x) is a girl group; their code-like name hides a crime drama.",
    "Files such as main.py, <b>bold</b> text and a_b_c are the crime of this hacker film.",
    "Error 404 and the crime of C++ & C# are in this film.",
    "Tora! Tora! Tora! is a war film, no crime.",
    "New York, New York is a musical of crime and jazz.",
    "Duran Duran, Talk Talk, The The: Heat has no such bands.",
    "Girls Girls Girls and Yeah Yeah Yeahs on a crime record.",
    "Da da da, la la la la la la: a crime of a song.",
    "He says no, no, no, no, no, no, no, no and means crime.",
    "It scores 10 10 10 10 10 10 10 with critics of crime.",
    "Ratings: **** ---- ==== .................... a crime.",
    "“Heat” is a crime film. “Heat” is long. “Heat” is loud. “Heat” is loved.",
    "Prefers crime, heists and long nights.\n\nAlso likes Michael Mann.",
    "Heat (1995)\n\nA thief, a detective, a city: crime as work.",
    "If you would like to see a heist done right, see Heat.",
    "Fans of three things will love Heat:\n- heists\n- coffee\n- Los Angeles",
    "5 < 7 and a <3 for Heat.",
    "Heat wird von denen geliebt, die das Verbrechen als Arbeit sehen.",
    "Es una película lenta y exacta sobre un ladrón y un policía que se parecen demasiado, para quien ama la noche.",
    "Um filme lento e exato sobre um ladrão e um policial do mesmo tipo, para quem gosta da noite e do silêncio.",
    "Ein langsamer, genauer Film in kaltem Blau, in dem zwei Männer sich im anderen erkennen; für alle, die warten.",
    "Een trage, precieze film over een dief en een agent die in elkaar zichzelf zien, of hun schaduw in de nacht.",
    "Un film lent et précis sur un voleur et un policier qui se ressemblent trop, pour ceux qui aiment la nuit.",
    "Un film lento e preciso su un ladro e un poliziotto che si somigliano troppo, per chi ama la notte.",
    "Медленный и точный фильм о воре и сыщике, которые слишком похожи друг на друга.",
    "『ヒート』は、ロサンゼルスを舞台に、泥棒と刑事の対決を描いた犯罪映画である。静かな緊張を好む人に向いている。",
    "《盗火线》是一部犯罪片，讲述洛杉矶的大盗与警探之间的较量，适合喜欢缓慢而精确叙事的观众。",
    "我不是药神是一部关于犯罪与良心的电影。",
    "作为一部犯罪片，它缓慢而精确。",
    "「히트」는 로스앤젤레스를 배경으로 한 범죄 영화이다.",
    "ฮีต เป็นภาพยนตร์อาชญากรรมเกี่ยวกับโจรและตำรวจในลอสแอนเจลิส",
    "فيلم جريمة عن لص وشرطي في لوس أنجلوس.",
]


@pytest.mark.parametrize("text", PROFILES)
def test_profiles_stay_unchanged_and_are_accepted(text: str) -> None:
    assert unwrap(text) == text
    assert rejection(Candidate(text, 150, REQUEST.prompt)) is None


@pytest.mark.parametrize(
    "data",
    [
        {"title": ["小米手机"], "facts": ["小米手机 is of the genre 手机."]},
        {
            "title": ["Gartenschlauch"],
            "description": ["Ein Schlauch für den Garten, der nicht knickt und lange hält, " * 2],
        },
        {"title": ["www.thehydraulicone.com"]},
        {"title": ["M.I.A."], "facts": ["M.I.A. was born in Hounslow."]},
        {"title": ["It"]},
    ],
)
def test_texts_are_only_checked_against_data_of_the_same_language(data: dict[str, list[str]]) -> None:
    text = "It is for those who want what lasts: the hydraulic pump of M.I.A. and what is known of it."
    prompt = load_prompts("generic").item
    empty = {"title": [], "description": [], "facts": [], "related_facts": [], "reviews": []}
    asked = user_message(prompt, empty | data, 3000)
    assert rejection(Candidate(text, 150, asked)) is None
    other = user_message(
        prompt, empty | {"title": ["Heat"], "facts": ["Heat is directed by Michael Mann."]}, 3000
    )
    assert rejection(Candidate(text, 150, other)) is not None


@pytest.mark.parametrize("text", [*WRAPPED.values(), *(text for text, _ in REJECTED.values()), *PROFILES])
def test_unwrapping_is_idempotent(text: str) -> None:
    assert unwrap(unwrap(text)) == unwrap(text)


SOME = "Heat crime a the thinks thought film answer profile Here is Sure Note 1995 - : final response analysis text"
WORDS = st.sampled_from([*SOME.split(), "(1995)", "熱", "ですから", "model", "assistant"])


@given(st.lists(WORDS, min_size=1, max_size=60).map(" ".join))
def test_words_alone_are_never_lost(text: str) -> None:
    """Check that any text without markup and line breaks loses at most a preface of one line."""
    left = unwrap(text)
    assert left == text or re.match(r"[Hh]ere|Answer|Response|Output|Profile|answer|profile", text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_text_is_accepted_or_rejected(text: str) -> None:
    left = unwrap(text)
    rejection(Candidate(left, 20, REQUEST.prompt))
    assert left == left.strip()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("A film about heat.", 4),
        ("Heat – a film", 4),
        ("熱", 1),
        ("熱についての映画です。", 4),
        ("『ヒート』は Michael Mann の映画である。", 6),
        ("热火追缉令是一部犯罪电影，由迈克尔·曼执导。", 9),
        ("ภาพยนตร์อาชญากรรม", 4),
        ("로스앤젤레스의 범죄 영화", 3),
    ],
)
def test_words_are_counted_in_characters_where_a_script_has_no_blanks(text: str, number: int) -> None:
    assert num_words(text) == number


def test_tokens_of_a_script_without_blanks_are_characters() -> None:
    assert tokens("Heat は熱い。") == ["Heat", "は", "熱", "い", "。"]
