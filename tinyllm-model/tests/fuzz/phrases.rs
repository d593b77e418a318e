//! Templates made of the parts that templates have, from bytes: each byte chooses the next part.

/// The bytes that are left; zeros when they are spent, which choose what ends.
pub(crate) struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
    depth: usize,
}

const LEAVES: [&str; 22] = [
    "1",
    "a",
    "ns.x",
    "messages",
    "'a'",
    "''",
    "0",
    "-1",
    "100000000",
    "2.5",
    "true",
    "none",
    "ns",
    "loop",
    "f",
    "m",
    "'a,b\n'",
    "'{0}{0:>99999999}'",
    "'%s%9999999d'",
    "messages[0].content",
    "bos_token",
    "[]",
];

const OPERATORS: [&str; 20] = [
    "+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or", "+", "~",
    "*", "==",
];

const FILTERS: [&str; 46] = [
    "list",
    "length",
    "join",
    "tojson",
    "string",
    "trim",
    "upper",
    "title",
    "capitalize",
    "replace",
    "indent",
    "split",
    "lines",
    "first",
    "last",
    "reverse",
    "sort",
    "unique",
    "groupby",
    "map",
    "select",
    "reject",
    "selectattr",
    "batch",
    "slice",
    "sum",
    "min",
    "max",
    "dictsort",
    "items",
    "default",
    "int",
    "float",
    "round",
    "abs",
    "bool",
    "attr",
    "format",
    "pprint",
    "escape",
    "safe",
    "chain",
    "zip",
    "count",
    "lower",
    "rejectattr",
];

const METHODS: [&str; 24] = [
    "split",
    "strip",
    "lstrip",
    "rstrip",
    "replace",
    "join",
    "format",
    "startswith",
    "endswith",
    "upper",
    "lower",
    "title",
    "items",
    "keys",
    "values",
    "get",
    "count",
    "find",
    "splitlines",
    "capitalize",
    "isdigit",
    "index",
    "append",
    "changed",
];

const TESTS: [&str; 12] = [
    "defined",
    "none",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "odd",
    "eq(a)",
    "in(a)",
    "sameas(a)",
    "lower",
    "true",
];

const FUNCTIONS: [&str; 8] =
    ["range", "dict", "namespace", "f", "loop", "caller", "raise_exception", "self.b"];

/// How often a thing is done again.
const TIMES: [usize; 8] = [2, 3, 3, 10, 60, 200, 3, 2];

/// `text` again and again, up to a length that no template may have.
fn again(text: &str, times: usize) -> String {
    text.repeat(times.min((2 << 20) / text.len().max(1)).max(1))
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Choices { bytes: bytes.iter(), depth: 0 }
    }

    fn next(&mut self) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next() % of.len()]
    }

    /// A whole template, with names that its parts use.
    pub(crate) fn template(&mut self) -> String {
        let head = "{% set ns = namespace(x=[1], s='a') %}{% set a = [1, 'a'] %}{% macro f(x, y=1) %}{{ x }}{% endmacro %}";
        let mut text = head.to_owned();
        for _ in 0..=self.next() % 6 {
            text += &self.statement();
        }
        text
    }

    fn statement(&mut self) -> String {
        self.depth += 1;
        let deep = self.depth > 5;
        let text = match if deep { self.next() % 5 } else { self.next() % 18 } {
            0 => "x".to_owned(),
            1 => format!("{{{{ {} }}}}", self.expression()),
            2 => format!("{{% set a = {} %}}", self.expression()),
            3 | 5 => format!("{{% set ns.x = {} %}}", self.expression()),
            4 => format!("{{% set ns.s = {} %}}", self.expression()),
            6 => format!("{{% for m in {} %}}{}{{% endfor %}}", self.expression(), self.statement()),
            7 | 8 => {
                let times = self.one(&TIMES);
                format!("{{% for i in range({times}) %}}{}{{% endfor %}}", self.statement())
            }
            9 => {
                format!("{{% for m in {} recursive %}}{}{{% endfor %}}", self.expression(), self.statement())
            }
            10 => format!(
                "{{% if {} %}}{}{{% else %}}{}{{% endif %}}",
                self.expression(),
                self.statement(),
                self.statement()
            ),
            11 => format!("{{% macro f(x, y={}) %}}{}{{% endmacro %}}", self.expression(), self.statement()),
            12 => format!("{{% call f({}) %}}{}{{% endcall %}}", self.expression(), self.statement()),
            13 => format!("{{% with a = {} %}}{}{{% endwith %}}", self.expression(), self.statement()),
            14 => format!("{{% set a %}}{}{{% endset %}}", self.statement()),
            15 => format!("{{% filter {} %}}{}{{% endfilter %}}", self.one(&FILTERS), self.statement()),
            16 => format!("{{% block b %}}{}{{% endblock %}}", self.statement()),
            _ => again(&self.statement(), self.one(&TIMES)),
        };
        self.depth -= 1;
        text
    }

    fn expression(&mut self) -> String {
        self.depth += 1;
        let deep = self.depth > 7;
        let text = match if deep { 0 } else { self.next() % 20 } {
            0..4 => self.one(&LEAVES).to_owned(),
            4 | 5 => format!("({} {} {})", self.expression(), self.one(&OPERATORS), self.expression()),
            6 => format!("[{}, {}]", self.expression(), self.expression()),
            7 => format!("{{'a': {}, {}: 1}}", self.expression(), self.expression()),
            8 => format!("({}, {})", self.expression(), self.expression()),
            9 | 10 => format!("{}|{}", self.expression(), self.one(&FILTERS)),
            11 => format!("({}|{}({}))", self.expression(), self.one(&FILTERS), self.expression()),
            12 => format!("({}|map('{}', {}))", self.expression(), self.one(&FILTERS), self.expression()),
            13 => format!("({}).{}({})", self.expression(), self.one(&METHODS), self.expression()),
            14 => format!("({} is {})", self.expression(), self.one(&TESTS)),
            15 => format!("({})[{}:{}]", self.expression(), self.expression(), self.expression()),
            16 => format!("({})[{}]", self.expression(), self.expression()),
            17 => format!("{}({})", self.one(&FUNCTIONS), self.expression()),
            18 => format!("({} if {} else {})", self.expression(), self.expression(), self.expression()),
            // A chain: as many links as the longest tag may have, or far more.
            _ => {
                let link = match self.next() % 8 {
                    0 => format!(" {} 1", self.one(&OPERATORS)),
                    1 => format!("|{}", self.one(&FILTERS)),
                    2 => ".a".into(),
                    3 => "[0]".into(),
                    4 => " if 1 else 1".into(),
                    5 => " is defined".into(),
                    6 => "()".into(),
                    _ => " < 1".into(),
                };
                let links = self.one(&[3, 20, 300, 900, 3, 3, 3000, 20_000]);
                let prefix = self.one(&["", "", "not ", "-"]).repeat(links / 3);
                format!("({prefix}{}{})", self.one(&LEAVES), link.repeat(links))
            }
        };
        self.depth -= 1;
        text
    }
}
