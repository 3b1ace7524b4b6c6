# SPDX-License-Identifier: BSD-2-Clause
"""from_header.py PAGE HEADER: the manual page of an object, in mdoc, from its header.

The comments of the public headers are the reference; this makes pages of them, so that
the two cannot disagree. What a header is made of: a first comment (@file: a title, then
text), comments of their own, and declarations, each with the comment before it if that
begins with two stars. Text indented by more than a space is shown as it is.
"""
import re
import sys

# A header with two objects: what belongs to the second page; all else to the first.
SECOND = {'msw_reader': re.compile(r'msw_(reader|entry)')}
FIRST = {'msw_writer': SECOND['msw_reader']}
SECTION = 3
WIDTH = 76

ITEM = re.compile(r'''
    /\*(?P<doc>\*)?(?P<comment>.*?)\*/
  | ^typedef\s+(?P<type>(?:enum|struct)\s+(?P<tag>\w+)\s*\{.*?\}\s*\w+);
  | ^typedef\s+(?P<alias>[^;{]*);
  | ^MSW_API\s+(?P<function>[^;]*);
  | ^\#\s*define\s+(?P<macro>(?:[^\n]*\\\n)*[^\n]*)
''', re.VERBOSE | re.DOTALL | re.MULTILINE)


TERM = re.compile(r'(\S+(?: \S+)?)\s{2,}(?=\S)')
TITLES = {'msw_context': 'settings shared by all objects; status codes'}


class Declaration:
    """kind: function, type or macro. doc: its comment, or None."""

    def __init__(self, kind, text, name, doc):
        self.kind, self.text, self.name, self.doc = kind, text, name, doc


def comment_text(raw):
    """The lines of a comment without its stars."""
    lines = [re.sub(r'^\s*\* ?', '', line) if i else line.strip()
             for i, line in enumerate(raw.split('\n'))]
    return '\n'.join(line.rstrip() for line in lines).strip('\n')


def parse(source):
    """The title, and comments (str) and declarations in their order."""
    title, items, doc = '', [], None
    source = re.sub(r'^#ifdef __cplusplus\n.*?^#endif.*?\n', '', source,
                    flags=re.DOTALL | re.MULTILINE)
    for match in ITEM.finditer(source):
        if match['comment'] is not None:
            text = comment_text(match['comment'])
            if text.startswith('@file'):
                title, _, text = text.partition('\n')
                items.append(text)
            elif match['doc']:
                doc = text
            elif not text.strip().startswith(('SPDX', 'MSW_', 'msw/')):
                items.append(text)
            continue
        declaration = make_declaration(match, doc)
        doc = None
        if declaration:
            items.append(declaration)
    return re.sub(r'^@file\s+\S+\s+', '', title).rstrip('.'), items


def make_declaration(match, doc):
    if match['function']:
        text = re.sub(r'\s*MSW_NODISCARD$', '', ' '.join(match['function'].split()))
        return Declaration('function', text, re.search(r'(\w+)\(', text)[1], doc)
    if match['type']:
        return Declaration('type', 'typedef ' + match['type'] + ';', match['tag'], doc)
    if match['alias']:
        text = ' '.join(match['alias'].split())
        name = re.search(r'(\w+)(\(|$)', text)[1]
        return Declaration('type', f'typedef {text};', name, doc)
    name = re.match(r'\w+', match['macro'])[0]
    if name.endswith('_H') or name in ('MSW_API', 'MSW_NODISCARD', 'MSW_STATUS_ENUM'):
        return None
    return Declaration('macro', '#define ' + match['macro'], name, doc)


def escape(text):
    return text.replace('\\', r'\e')


def protect(line):
    """A line that begins like a request is none."""
    return '\\&' + line if line[:1] in ('.', "'") else line


def inline(text):
    text = escape(text)
    text = re.sub(r'@[pc] (\w+)', r'\\fI\1\\fP', text)
    text = re.sub(r'\b(\w+)\(\)', r'\\fB\1\\fP()', text)
    return re.sub(r'\b(MSW_[A-Z0-9_]+)\b(?!\\)', r'\\fB\1\\fP', text)


def wrap(sentence):
    lines, line = [], ''
    for word in sentence.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = word
        else:
            line = f'{line} {word}' if line else word
    return lines + [line]


def paragraph(text):
    """Each sentence on a line of its own, as mdoc wants it."""
    sentences = re.split(r'(?<=[\w)"\'][.!?])\s+(?=["(@]*[A-Z])', ' '.join(text.split()))
    return [protect(line) for s in sentences for line in wrap(inline(s))]


def literal(lines):
    indent = min(len(line) - len(line.lstrip()) for line in lines if line)
    return (['.Bd -literal -offset indent'] +
            [protect(escape(line[indent:])) for line in lines] + ['.Ed'])


def definitions(lines):
    """A list of terms: a term, two spaces or more, text that goes on below itself."""
    out = ['.Bl -tag -width Ds']
    for line in lines:
        term = TERM.match(line)
        if term:
            out += ['.It ' + inline(term[1]), []]
        out[-1].append(line[term.end():] if term else line)
    return [line for part in out for line in
            (paragraph(' '.join(part)) if isinstance(part, list) else [part])] + ['.El']


def split(text):
    """Runs of lines that are indented or not; a list of terms is one run."""
    runs = []
    for part in re.split(r'\n\n+', text):
        lines = part.split('\n')
        if TERM.match(lines[0]):
            runs.append(lines)
            continue
        for line in lines:
            if not runs or line is lines[0] or (
                    line.startswith('  ') != runs[-1][0].startswith('  ')):
                runs.append([])
            runs[-1].append(line)
    return runs


def prose(text, first='.Pp'):
    out = []
    for lines in split(text):
        if lines[0].startswith('  '):
            out += literal(lines)
        elif TERM.match(lines[0]):
            out += definitions(lines)
        else:
            out += ([first] if first else []) + paragraph(' '.join(lines))
        first = '.Pp'
    return out


def prototype(text):
    """.Ft and .Fo of a C declaration."""
    kind, name, arguments = re.fullmatch(r'(.*?)(\w+)\((.*)\)', text).groups()
    out = [f'.Ft "{kind.strip()}"' if ' ' in kind.strip() else f'.Ft {kind.strip()}',
           f'.Fo {name}']
    out += [f'.Fa "{a.strip()}"' for a in arguments.split(',')]
    return out + ['.Fc']


def code(declaration):
    text = re.sub(r'@[pc] ', '', declaration.text).replace('/**<', '/*').replace('/**', '/*')
    lines = [line.rstrip() for line in text.split('\n')]
    return ['.Bd -literal'] + [protect(escape(line)) for line in lines] + ['.Ed']


def describe(items):
    """Text and functions in the header's order. Those whose names say all have no text."""
    out, listing = [], False
    for item in items:
        if isinstance(item, str):
            out += (['.El'] if listing else []) + prose(item)
            listing = False
        elif item.kind == 'function' and not item.name.endswith('_init_sized'):
            out += ([] if listing else ['.Bl -tag -width Ds']) + [f'.It Fn {item.name}']
            out += prose(item.doc, first='') if item.doc else []
            listing = True
    return out + (['.El'] if listing else [])


def types(items):
    out = []
    for item in items:
        if isinstance(item, Declaration) and item.kind != 'function':
            out += (['.Pp'] + prose(item.doc, first='') if item.doc else [])
            out += code(item)
    return out


def belongs(page, item):
    if isinstance(item, str):
        return True
    if page in SECOND:
        return bool(SECOND[page].match(item.name))
    return not (page in FIRST and FIRST[page].match(item.name))


def without_empty_headings(items):
    """A comment that only announces declarations of the other page goes with them."""
    return [item for i, item in enumerate(items)
            if not (isinstance(item, str) and i > 0 and len(item.split()) < 3)]


def page_text(page, header, source):
    title, items = parse(source)
    items = without_empty_headings([item for item in items if belongs(page, item)])
    functions = [item for item in items
                 if isinstance(item, Declaration) and item.kind == 'function']
    out = ['.\\" SPDX-License-Identifier: BSD-2-Clause',
           f'.\\" Made from msw/{header} by from_header.py.',
           '.Dd November 24, 2026', f'.Dt {page.upper()} {SECTION}', '.Os', '.Sh NAME']
    functions.sort(key=lambda f: f.name.endswith('_init_sized')) # last, else as they are
    names = [page] + [f.name for f in functions]
    out += [f'.Nm {name} ,' for name in names[:-1]] + [f'.Nm {names[-1]}']
    title = TITLES.get(page, title)
    title = title[:1].lower() + title[1:] if title[1:2].islower() else title
    out += [f'.Nd {escape(title)}', '.Sh SYNOPSIS', f'.In msw/{header}']
    for function in functions:
        out += prototype(function.text)
    out += ['.Sh DESCRIPTION'] + describe(items)
    declared = types(items)
    if declared:
        out += ['.Sh TYPES AND CONSTANTS'] + declared
    out += ['.Sh RETURN VALUES', 'What returns', '.Vt msw_status',
            'returns 0, which is', '.Dv MSW_OK ,', 'or a negative code;',
            '.Xr libmsw 3', 'lists them.', '.Sh SEE ALSO']
    out += (['.Xr libmsw 3'] if page == 'msw_context' else
            ['.Xr libmsw 3 ,', '.Xr msw_context 3'])
    text = '\n'.join(out) + '\n'
    return re.sub(r'^(\.Sh .*\n)\.Pp\n', r'\1', text, flags=re.MULTILINE)


def main():
    page, path = sys.argv[1:]
    with open(path, encoding='utf-8') as f:
        source = f.read()
    sys.stdout.write(page_text(page, re.split(r'[/\\]', path)[-1], source))


if __name__ == '__main__':
    main()
