"""The languages that Whisper knows: ISO 639-1 codes (two of ISO 639-3) and English names."""

from __future__ import annotations

from typing import Final

from bot.core.errors import UnknownLanguage

LANGUAGES: Final = {
    "af": "Afrikaans",
    "sq": "Albanian",
    "am": "Amharic",
    "ar": "Arabic",
    "hy": "Armenian",
    "as": "Assamese",
    "az": "Azerbaijani",
    "ba": "Bashkir",
    "eu": "Basque",
    "be": "Belarusian",
    "bn": "Bengali",
    "bs": "Bosnian",
    "br": "Breton",
    "bg": "Bulgarian",
    "my": "Burmese",
    "yue": "Cantonese",
    "ca": "Catalan",
    "zh": "Chinese",
    "hr": "Croatian",
    "cs": "Czech",
    "da": "Danish",
    "nl": "Dutch",
    "en": "English",
    "et": "Estonian",
    "fo": "Faroese",
    "fi": "Finnish",
    "fr": "French",
    "gl": "Galician",
    "ka": "Georgian",
    "de": "German",
    "el": "Greek",
    "gu": "Gujarati",
    "ht": "Haitian Creole",
    "ha": "Hausa",
    "haw": "Hawaiian",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "is": "Icelandic",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "jw": "Javanese",
    "kn": "Kannada",
    "kk": "Kazakh",
    "km": "Khmer",
    "ko": "Korean",
    "lo": "Lao",
    "la": "Latin",
    "lv": "Latvian",
    "ln": "Lingala",
    "lt": "Lithuanian",
    "lb": "Luxembourgish",
    "mk": "Macedonian",
    "mg": "Malagasy",
    "ms": "Malay",
    "ml": "Malayalam",
    "mt": "Maltese",
    "mi": "Maori",
    "mr": "Marathi",
    "mn": "Mongolian",
    "ne": "Nepali",
    "no": "Norwegian",
    "nn": "Norwegian Nynorsk",
    "oc": "Occitan",
    "ps": "Pashto",
    "fa": "Persian",
    "pl": "Polish",
    "pt": "Portuguese",
    "pa": "Punjabi",
    "ro": "Romanian",
    "ru": "Russian",
    "sa": "Sanskrit",
    "sr": "Serbian",
    "sn": "Shona",
    "sd": "Sindhi",
    "si": "Sinhala",
    "sk": "Slovak",
    "sl": "Slovenian",
    "so": "Somali",
    "es": "Spanish",
    "su": "Sundanese",
    "sw": "Swahili",
    "sv": "Swedish",
    "tl": "Tagalog",
    "tg": "Tajik",
    "ta": "Tamil",
    "tt": "Tatar",
    "te": "Telugu",
    "th": "Thai",
    "bo": "Tibetan",
    "tr": "Turkish",
    "tk": "Turkmen",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "cy": "Welsh",
    "yi": "Yiddish",
    "yo": "Yoruba",
}
"""By code, in the order of their names."""

_BY_NAME: Final = {name.casefold(): code for code, name in LANGUAGES.items()}


def language_name(code: str) -> str:
    """The English name of a code; the code itself where it is unknown."""
    return LANGUAGES.get(code, code)


def parse_language(text: str) -> str:
    """The code for what a member typed: a code, a locale such as ``pt-BR``, or an English name.

    Raises:
        UnknownLanguage: Whisper does not know it.
    """
    wanted = text.strip().casefold()
    code = wanted.replace("_", "-").partition("-")[0]
    if code in LANGUAGES:
        return code
    if wanted in _BY_NAME:
        return _BY_NAME[wanted]
    raise UnknownLanguage(language=text[:50])


def matching_languages(text: str, limit: int) -> list[tuple[str, str]]:
    """Codes and names that fit what has been typed so far, the closest first."""
    typed = text.strip().casefold()
    ranked = [
        (not name.casefold().startswith(typed), code != typed, name, code)
        for code, name in LANGUAGES.items()
        if typed in name.casefold() or code == typed
    ]
    ranked.sort(key=lambda row: (row[1], row[0], row[2]))
    return [(code, name) for _, _, name, code in ranked[:limit]]
