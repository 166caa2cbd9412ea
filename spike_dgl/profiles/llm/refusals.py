"""Beginnings of answers that refuse the task or ask back, by language.

Each pattern contains a first person or names the task, so that it matches no profile. Case matters: "I Can't Help
Myself" is a song, "I can't help with" is a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    "English": (
        r"(?:I'm|I am) (?:very |so |really |truly )?sorry,? (?:but |that )?(?:I|as an|there (?:is|are))\b",
        r"(?:I'm )?[Ss]orry,? (?:but )?(?:I can|I'm|I am|as an|there is no)\b",
        r"(?:I apologi[sz]e|My apologies|Unfortunately),? (?:but )?(?:I|as an|there (?:is|are) (?:no|not))\b",
        r"I (?:can't|cannot|can not|won't|will not|couldn't|could not|am unable to|am not able to|'m unable to) "
        r"(?:help with|assist|provide|comply|fulfil|continue with|create|generate|write|produce|complete|discuss"
        r"|do that|determine|identify)",
        r"I (?:must|have to) decline\b",
        r"I'm (?:unable|not able) to ",
        r"I (?:do not|don't) (?:have|see) (?:any|enough|access|sufficient|personal|specific|information|the ability)\b",
        r"I have (?:no|not enough|insufficient) (?:data|information|details)\b",
        r"I need (?:more|additional|some) (?:information|details|data|context)\b",
        r"(?:I am|I'm) (?:just |only )?an? (?:AI|artificial intelligence|(?:large )?language model)\b",
        r"As an? (?:AI|artificial intelligence|(?:large )?language model)\b",
        r"(?:I'd|I would) be happy to (?:help|assist|write)\b",
        r"(?:Hello|Hi)[!,.] (?:How|I)\b",
        r"How (?:can|may) I (?:help|assist)\b",
        r"(?:Could|Can|Would) you (?:please )?(?:provide|share|give me|tell me)\b",
        r"Please (?:provide|share|give) (?:me|the|more|a|an|some|your)\b",
        r"It (?:seems|looks|appears) (?:like |that |as if )?(?:you|your|there (?:is|are|was|were) no)\b",
        r"It (?:seems|looks|appears) (?:like |that )?the (?:data|list|prompt|message|input|information)\b",
        r"There (?:is|are) (?:no|not enough|insufficient) (?:data|information|details)\b",
        r"(?:No|Not enough|Insufficient) (?:data|information|details) (?:is|are|was|were|available|provided|given)\b",
    ),
    "Spanish": (
        r"(?:Lo siento|Lo lamento|Disculp[ae]),? (?:pero )?(?:no|como)\b",
        r"No puedo (?:ayudar|proporcionar|generar|escribir|cumplir|crear)",
        r"Como (?:un )?(?:modelo de lenguaje|IA|inteligencia artificial)\b",
    ),
    "Portuguese": (
        r"(?:Desculpe|Sinto muito|Lamento|Infelizmente),? (?:mas )?(?:eu )?(?:não|como)\b",
        r"(?:Eu n|N)ão posso (?:ajudar|fornecer|gerar|escrever|criar)",
        r"Como (?:um )?(?:modelo de linguagem|IA|inteligência artificial)\b",
    ),
    "French": (
        r"(?:Je suis (?:vraiment )?)?(?:[Dd]ésolée?|navrée?),? (?:mais )?(?:je ne|en tant qu)",
        r"Je (?:ne peux pas|ne suis pas en mesure|suis dans l'incapacité)\b",
        r"Malheureusement, je ne\b",
        r"En tant qu(?:e modèle|'IA|'intelligence artificielle)",
    ),
    "Italian": (
        r"Mi dispiace,? (?:ma )?non\b",
        r"(?:Purtroppo non|Non) posso (?:aiutar|fornire|generare|scrivere|creare)",
        r"Come (?:modello linguistico|IA|intelligenza artificiale)\b",
    ),
    "German": (
        r"(?:Es tut|Tut) mir leid, (?:aber )?(?:ich|da)\b",
        r"Entschuldigung, (?:aber )?ich\b",
        r"(?:Leider kann|Leider habe) ich\b",
        r"Ich kann (?:leider|Ihnen|dir|dabei|diese[mrs]?|keine?n?|nicht)\b",
        r"Als (?:KI|Sprachmodell|künstliche Intelligenz)\b",
    ),
    "Dutch": (
        r"Het spijt me\b",
        r"Sorry, (?:maar )?ik kan\b",
        r"(?:Helaas kan ik|Ik kan helaas|Ik kan (?:je )?niet)\b",
    ),
    "Swedish, Danish, Norwegian": (
        r"(?:Tyvärr|Desværre|Dessverre) kan j(?:ag|eg) (?:inte|ikke)\b",
        r"Beklager, men jeg\b",
        r"Jag kan (?:tyvärr )?inte hjälpa\b",
    ),
    "Polish, Czech": (r"(?:Przykro mi|Przepraszam), ale nie\b", r"Niestety,? nie mog", r"Omlouvám se, ale\b"),
    "Russian, Ukrainian": (
        r"(?:Извините|Простите|К сожалению|Мне жаль|Вибачте|На жаль),? (?:но )?(?:я|мне|але)\b",
        r"Я не могу (?:помочь|предоставить|выполнить|написать|создать|ответить)",
        r"Как (?:ИИ|языковая модель|искусственный интеллект)\b",
    ),
    "Turkish": (r"(?:Üzgünüm|Maalesef), ",),
    "Indonesian, Malay": (r"Maaf, (?:tetapi |tapi )?saya (?:tidak|belum)\b",),
    "Vietnamese": (r"(?:Tôi x|X)in lỗi,",),
    "Chinese": (
        r"(?:我?很|非常|十分|真的)?(?:抱歉|对不起|對不起|遗憾)[，,。！!]?(?:但|但是)?(?:我|作为|作為|无法|無法|您|这)",
        r"我(?:无法|無法|不能|没有办法|沒辦法)(?:提供|协助|協助|帮助|幫助|生成|回答|满足|完成|为|為|撰写|撰寫)",
        r"作[为為](?:一个|一個|一名)?(?:AI|人工智能|人工智慧|大?语言模型|大?語言模型)",
        r"(?:您好|你好)?[，,！!]?请(?:您|你)?(?:提供|告诉我)",
    ),
    "Japanese": (
        r"(?:大変|誠に)?(?:申し訳|もうしわけ)(?:ございません|ありません|ないのですが|ないですが)",
        r"(?:すみません|すいません|ごめんなさい|恐れ入ります)(?:が|、)",
        r"(?:私は)?(?:AI|人工知能|(?:大規模)?言語モデル)(?:アシスタント)?(?:として|ですので|なので)",
    ),
    "Korean": (
        r"(?:정말 )?(?:죄송(?:합니다|하지만|하게도|스럽지만)|미안하지만)",
        r"저는 (?:AI|인공지능|언어 모델)",
    ),
    "Arabic, Persian, Hebrew": (
        r"(?:عذراً|عذرًا|عذرا|آسف|أعتذر|أنا آسف|للأسف)[،, ]",
        r"لا (?:أستطيع|يمكنني) ",
        r"(?:متأسفم|متاسفم|מצטער)",
    ),
    "Hindi, Thai": (r"(?:मुझे खेद है|क्षमा करें|माफ़ कीजिए|माफ करें)", r"(?:ขออภัย|ขอโทษ)"),
}

REFUSAL = re.compile("|".join(f"(?:{each})" for of_language in BEGINNINGS.values() for each in of_language))
"""Pattern of the beginning of a refusal, for texts with plain instead of typographic apostrophes."""
