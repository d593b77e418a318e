//! Limits on a template's syntax, checked before the engine's recursive parser, compiler and constant folding run.
//!
//! The parser counts brackets and blocks, but recurses once for each link of a chain (`1+1+…`, `a.b.b…`, `not not …`,
//! `1 if 1 else 1 if …`, `{% elif %}…`) without counting. Its tokens are counted here first: no expression is deeper
//! than its tag has tokens, and no `if` longer than the template has branches.

use minijinja::{
    Error, ErrorKind,
    machinery::{Token, ast, parse, tokenize},
    syntax::SyntaxConfig,
};

/// The longest template; published ones are below 100 KB.
const MAX_BYTES: usize = 1 << 20;

/// Lines are numbered in 16 bits.
const MAX_LINES: usize = 60_000;

/// Tokens between `{{` and `}}`, or `{%` and `%}`. Published templates stay below 300.
pub(super) const MAX_TAG_TOKENS: usize = 4096;

/// `elif` branches of a template.
pub(super) const MAX_BRANCHES: usize = 1024;

/// Values in lists that are computed with before rendering, where no fuel is charged.
const MAX_FOLDED: u64 = 20_000;

fn refuse<T>(problem: String) -> Result<T, Error> {
    Err(Error::new(ErrorKind::SyntaxError, problem))
}

/// Whether a template is short enough to be read.
pub(super) fn check_length(text: &str) -> Result<(), Error> {
    if text.len() > MAX_BYTES {
        return refuse(format!("{} bytes of template, at most {MAX_BYTES} are read", text.len()));
    }
    let lines = text.bytes().filter(|byte| *byte == b'\n').count();
    if lines > MAX_LINES {
        return refuse(format!("{lines} lines of template, at most {MAX_LINES} are read"));
    }
    Ok(())
}

/// The syntax tree of a template within the limits.
pub(super) fn tree<'a>(name: &'a str, text: &'a str, config: SyntaxConfig) -> Result<ast::Stmt<'a>, Error> {
    check_length(text)?;
    let (mut tokens, mut branches) = (0, 0);
    let mut starts_block = false;
    for token in tokenize(text, false, config.clone()) {
        // What is no token the parser will name, with its line.
        let Ok((token, span)) = token else { break };
        branches += usize::from(starts_block && matches!(token, Token::Ident("elif")));
        starts_block = matches!(token, Token::BlockStart);
        tokens = if starts_block || matches!(token, Token::VariableStart) { 0 } else { tokens + 1 };
        if tokens > MAX_TAG_TOKENS {
            let line = span.start_line;
            return refuse(format!("line {line}: an expression of more than {MAX_TAG_TOKENS} tokens"));
        }
        if branches > MAX_BRANCHES {
            return refuse(format!("more than {MAX_BRANCHES} branches of elif"));
        }
    }
    let tree = parse(text, name, config)?;
    let mut folding = Folding { values: 0 };
    folding.statement(&tree);
    if folding.values > MAX_FOLDED {
        return refuse(format!("constant lists of more than {MAX_FOLDED} values"));
    }
    Ok(tree)
}

/// What constant folding will visit. It repeats and compares constant lists while it compiles.
struct Folding {
    values: u64,
}

/// A constant: how many values it is made of when it is a list, tuple or map; one for whatever else there is.
#[derive(Clone, Copy)]
enum Constant {
    Scalar,
    Values(u64),
}

impl Constant {
    fn values(self) -> u64 {
        match self {
            Constant::Scalar => 1,
            Constant::Values(values) => values,
        }
    }
}

impl Folding {
    fn statement(&mut self, statement: &ast::Stmt<'_>) {
        use ast::Stmt::*;
        match statement {
            Template(it) => self.body(&it.children),
            EmitExpr(it) => self.ignore(&it.expr),
            EmitRaw(_) | Continue(_) | Break(_) | FromImport(_) | Import(_) | Extends(_) | Include(_) => (),
            ForLoop(it) => {
                self.ignore(&it.iter);
                it.filter_expr.iter().for_each(|filter| self.ignore(filter));
                self.body(&it.body);
                self.body(&it.else_body);
            }
            IfCond(it) => {
                self.ignore(&it.expr);
                self.body(&it.true_body);
                self.body(&it.false_body);
            }
            WithBlock(it) => {
                it.assignments.iter().for_each(|(_, value)| self.ignore(value));
                self.body(&it.body);
            }
            Set(it) => self.ignore(&it.expr),
            SetBlock(it) => {
                it.filter.iter().for_each(|filter| self.ignore(filter));
                self.body(&it.body);
            }
            AutoEscape(it) => {
                self.ignore(&it.enabled);
                self.body(&it.body);
            }
            FilterBlock(it) => {
                self.ignore(&it.filter);
                self.body(&it.body);
            }
            Block(it) => self.body(&it.body),
            Macro(it) => self.declaration(it),
            CallBlock(it) => {
                self.call(&it.call);
                self.declaration(&it.macro_decl);
            }
            Do(it) => self.call(&it.call),
        }
    }

    fn body(&mut self, statements: &[ast::Stmt<'_>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn declaration(&mut self, declaration: &ast::Macro<'_>) {
        declaration.defaults.iter().for_each(|default| self.ignore(default));
        self.body(&declaration.body);
    }

    fn ignore(&mut self, expression: &ast::Expr<'_>) {
        self.constant(expression);
    }

    fn call(&mut self, call: &ast::Call<'_>) {
        self.ignore(&call.expr);
        self.arguments(&call.args);
    }

    fn arguments(&mut self, arguments: &[ast::CallArg<'_>]) {
        use ast::CallArg::*;
        for argument in arguments {
            let (Pos(value) | Kwarg(_, value) | PosSplat(value) | KwargSplat(value)) = argument;
            self.ignore(value);
        }
    }

    /// Visits an expression; what it is if it is constant.
    fn constant(&mut self, expression: &ast::Expr<'_>) -> Option<Constant> {
        use ast::Expr::*;
        match expression {
            Var(_) => None,
            Const(_) => Some(Constant::Scalar),
            List(it) => self.list(it.items.iter()),
            Tuple(it) => self.list(it.items.iter()),
            Map(it) => self.list(it.keys.iter().chain(&it.values)),
            UnaryOp(it) => self.constant(&it.expr),
            BinOp(it) => {
                let (left, right) = (self.constant(&it.left), self.constant(&it.right));
                let (left, right) = (left?, right?);
                Some(self.operation(it, left, right))
            }
            Compare(it) => {
                let first = self.constant(&it.expr);
                let rest: Vec<_> = it.ops.iter().map(|op| self.constant(&op.expr)).collect();
                let all: Option<Vec<Constant>> = std::iter::once(first).chain(rest).collect();
                all?.into_iter().for_each(|operand| self.visit(operand));
                Some(Constant::Scalar)
            }
            Slice(it) => {
                self.ignore(&it.expr);
                [&it.start, &it.stop, &it.step].into_iter().flatten().for_each(|bound| self.ignore(bound));
                None
            }
            IfExpr(it) => {
                self.ignore(&it.test_expr);
                self.ignore(&it.true_expr);
                it.false_expr.iter().for_each(|value| self.ignore(value));
                None
            }
            Filter(it) => {
                it.expr.iter().for_each(|value| self.ignore(value));
                self.arguments(&it.args);
                None
            }
            Test(it) => {
                self.ignore(&it.expr);
                self.arguments(&it.args);
                None
            }
            GetAttr(it) => {
                self.ignore(&it.expr);
                None
            }
            GetItem(it) => {
                self.ignore(&it.expr);
                self.ignore(&it.subscript_expr);
                None
            }
            Call(it) => {
                self.call(it);
                None
            }
        }
    }

    fn list<'e, 's: 'e>(&mut self, items: impl Iterator<Item = &'e ast::Expr<'s>>) -> Option<Constant> {
        let items: Vec<_> = items.map(|item| self.constant(item)).collect();
        let items: Option<Vec<Constant>> = items.into_iter().collect();
        let values = items?.into_iter().fold(1u64, |sum, item| sum.saturating_add(item.values()));
        Some(Constant::Values(values))
    }

    /// Counts the values of a list that an operation walks over.
    fn visit(&mut self, operand: Constant) {
        if let Constant::Values(values) = operand {
            self.values = self.values.saturating_add(values);
        }
    }

    fn operation(&mut self, it: &ast::BinOp<'_>, left: Constant, right: Constant) -> Constant {
        use ast::BinOpKind::*;
        let sum = left.values().saturating_add(right.values());
        let result = match (it.op, left, right) {
            (_, Constant::Scalar, Constant::Scalar) => return Constant::Scalar,
            (Mul, Constant::Values(values), Constant::Scalar) => repeated(values, &it.right),
            (Mul, Constant::Scalar, Constant::Values(values)) => repeated(values, &it.left),
            (Add | ScAnd | ScOr, ..) => Constant::Values(sum),
            _ => Constant::Scalar,
        };
        self.visit(left);
        self.visit(right);
        self.visit(result);
        result
    }
}

/// A list of so many values, as often as `count` says.
fn repeated(values: u64, count: &ast::Expr<'_>) -> Constant {
    let count = count.as_const().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    Constant::Values(values.saturating_mul(count).max(1))
}
