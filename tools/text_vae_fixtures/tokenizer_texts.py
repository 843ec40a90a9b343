"""Texts that try every path of a tokenizer, and the text the small tokenizers are trained on."""

import unicodedata

ENGLISH = """A small red circle stands on the left of a large blue square, over a green gradient.
The quick brown fox jumps over the lazy dog; it's the dog's fault, they'll say, and I'd agree.
We've painted twelve yellow triangles and one striped hexagon in the upper right corner.
A photograph of a mountain lake at dawn, mist over the water, soft light, film grain, 35mm.
Portrait of an old sailor with a white beard, oil on canvas, dramatic lighting, dark background.
She isn't sure whether you're coming or they've gone; he'll wait, I'm told, until it's over.
In the year 1984 there were 365 days, 8,760 hours and 525,600 minutes; 3.14159 is not 22/7.
word words sword word-play password "word" word."""

CODE = """def tokenize(text: str) -> list[int]:
    if not text:\n        return []\n\t# tabs, too\n    return [ord(c) for c in text if c != '\\n']
for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }   // dot product
SELECT name, COUNT(*) FROM birds WHERE wingspan >= 2.5 GROUP BY name;
<div class="feather" style="width:100%">&nbsp;</div>
{"json": [1, 2.5e-3, null, true], "nested": {"a": "b"}}
https://example.org/a/b?c=d&e=%20f#g  user@example.org  C:\\path\\to  ::scope::name::"""

WORLD = """Der schnelle braune Fuchs springt über den faulen Hund. Straße, Größe, Ärger, œuvre, naïve, façade.
El niño comió piñas en la montaña; ¿qué pasó? ¡Nada! L'été, déjà vu, où êtes-vous?
Быстрая коричневая лиса перепрыгивает через ленивую собаку. Ёлка, йод, подъезд.
Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.
敏捷的棕色狐狸跳过了懒狗。一个红色的圆形在左边。繁體中文也可以。
素早い茶色の狐がのろまな犬を飛び越える。カタカナとひらがな、ﾊﾝｶｸ。
빠른 갈색 여우가 게으른 개를 뛰어넘는다. 한국어 문장입니다.
الثعلب البني السريع يقفز فوق الكلب الكسول. مَرْحَبًا بِكُمْ ١٢٣٤
השועל החום המהיר קופץ מעל הכלב העצלן. שָׁלוֹם
तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। १२३४५
เร็วสุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ ๑๒๓
Con cáo nâu nhanh nhẹn nhảy qua con chó lười. Tiếng Việt có nhiều dấu.
তাড়াতাড়ি বাদামী শিয়াল · ಕನ್ನಡ · தமிழ் · ქართული · Հայերեն · አማርኛ · བོད་ · ᠮᠣᠩᠭᠣᠯ"""

SPECIAL = [
    "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "<|endoftext|>",
    "<|endoftext|><|endoftext|> <|endoftext|>",
    "a<|im_end|>b",
    "<|im_start|",
    "<|im_<|im_end|>",
    "<think>x</think",
    "<tool_call>{}</tool_call>",
    "x <mask> y",
    "x   <mask>   y",
    "<mask>s <mask>",
    "\t\n <mask>",
    "x <right> \n y",
    "<right>   ",
    " <both> ",
    "a <both> <both> b",
    "<right> <mask> <both>\u3000<mask>",
    "word word2 2word sword words word, (word) wordé éword word\u0301 word_ _word",
    "A\u030angstrom \u00c5ngstrom \u212bngstrom",
    "<|begin|>x<|end|>",
    "é<|im_end|>\u0301x",  # a combining mark right after a token must not join across it
    "<unk> <unk>",
]

ODD = [
    "", " ", "  ", "   ", "\n", "\r\n", "\t", "\n\n\n", " \n ", "a ", " a", "  a", "a  ", "a  b", "a   b", "\r", "\r\r\n",
    "   \n   \n   x", "x\t\ty", "x \t y", "\u00a0", "x\u00a0y", "\u3000x\u3000", "\u2003\u2003x", "\u0085x\u0085", "\u1680x",
    "\u180ex\u180e y", "\u200b\u200c\u200d", "x\u200by", "\ufeffx", "\u2028x\u2029y", "\u202fx", "\v\f\x1c\x1d\x1e\x1fx", "\x00", "a\x00b",
    "\x01\x02\x07\x08\x1b[0m", "\x7f", "\ufffd", "\uffff\ufffe", "\U0010ffff", "\ue000\U000f0000", "'s", "'S", "it'S IT'S 'Ll 'LL 'rE",
    "'\u017f '\u212a", "dog's 's' ''s", "don't can't won't I've I'd I'll I'm you're", "don\u2019t", "'", "''''", "\"'`",
    "1", "12", "123", "1234", "12345678", "1,234.56", "1e10", "0x1F", "\u00bd \u00b2 \u2163 \u2460 \u0661\u0662\u0663 \uff11\uff12 \U0001d7d8",
    "a1b2c3", "x\u00b2+y\u00b2", "3\u20e3", "!", "!!!", "?!", "...", "\u2026", "--", "\u2014", "a-b", "a_b", "snake_case_name",
    "CamelCaseName", "UPPER lower MiXeD", "$100", "\u20ac5", "50%", "#tag", "@name", "a+b=c", "(x)", "[y]", "{z}", "<w>",
    "!\n", "!\n\n", "!\r\n", "! \n", " !\n", "x\n!", "::", "a::b", ":::", "::::", " :: ",
    "\U0001f600", "\U0001f600\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
    "\u2764\ufe0f", "\u2764", "a\U0001f600b", "\U0001f600 a", " \U0001f600", "\u263a\ufe0e", "\U0001faf0",
    "e\u0301", "\u00e9", "e\u0301e\u0301", "a\u0308\u0304", "a\u0304\u0308", "a\u0323\u0307", "a\u0307\u0323", "\u1e69", "s\u0323\u0307", "s\u0307\u0323",
    "\u0301", "\u0301x", " \u0301", "x \u0301\u0302\u0303", "\u212b", "\u2126", "\u212a", "\ufb01", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u0958", "\u0915\u093c", "\u2adc", "\u0344", "\u0374", "\u1f71", "\u03ac", "\uf900", "\U0002f800", "\u3099\u304b\u3099", "\u0bc6\u0bbe",
    "Z\u0351\u036b\u0343a\u0363\u0365l\u0368g\u0369o\u0349", "q\u0307\u0323", "\u1fc1", "\u0f73", "\u0f71\u0f72",
    "a" * 300, "ab" * 150, " " * 120, "\n" * 60, " \n" * 40, "0" * 90, "!" * 90, "\u4e00" * 60, "\U0001f600" * 25, "aA1! " * 30,
    "the " * 50, "a" + "\u0301" * 40, "unmergeable extraordinary \u00e9t\u00e9", " extraordinary", "extraordinary",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore",
]

NOT_UTF8 = [
    b"\xff", b"\x80", b"a\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82x", b"\xe2(\xa1", b"\xf0\x9f\x98", b"\xf0\x9f\x98x", b"\xc0\xaf",
    b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xb0\x80x", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"a\xffb\xfec", b"\xf0\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80", b"ok \xe4\xb8 ok", b"\xe4\xb8\xad\xe4\xb8", b"<|im_end|>\xc3<|im_end|>", b"e\xcc\x81\xcc",
]

RANGES = [
    (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0xA0, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x5FF),
    (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x2BFF),
    (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF), (0x10000, 0x1007F), (0x1D400, 0x1D7FF),
    (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x0, 0x1F),
]
GLUE = [" ", "  ", "\n", "", "'s ", "\t", "1", ".", "<|im_end|>", " word ", "\r\n", "::", "\u0301"]


def random_text(rng):
    parts = []
    for _ in range(rng.randint(1, 6)):
        low, high = rng.choice(RANGES)
        for _ in range(rng.randint(1, 8)):
            c = chr(rng.randint(low, high))
            if unicodedata.category(c) != "Cn":  # newer characters differ between Unicode versions
                parts.append(c)
        parts.append(rng.choice(GLUE))
    return "".join(parts)


def all_texts(rng):
    lines = [line for block in (ENGLISH, CODE, WORLD) for line in block.split("\n")]
    words = ENGLISH.split()
    mixed = [" ".join(rng.choices(words, k=rng.randint(2, 9))) for _ in range(40)]
    prompts = [f"<|im_start|>user\n{t}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n" for t in rng.sample(lines, 8)]
    texts = [ENGLISH, CODE, WORLD, *lines, *SPECIAL, *ODD, *NOT_UTF8, *mixed, *prompts]
    texts += [random_text(rng) for _ in range(640 - len(texts))]
    return texts


def training_corpus():
    return [line for block in (ENGLISH, CODE, WORLD) for line in block.split("\n")] * 3
