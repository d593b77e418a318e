//! A syntax tree with Python's meaning: operators that differ become calls of functions (`operators`), macros fill in
//! their defaults one after another, and have `varargs` and `kwargs` where they name them.

use minijinja::{
    Value,
    machinery::{Span, ast::*},
};

/// Filters that make a text of what they are given before they look at it.
const OF_TEXT: [&str; 9] =
    ["upper", "lower", "title", "capitalize", "trim", "replace", "indent", "escape", "e"];

/// The tree with Python's meaning.
pub(in crate::chat) fn rewrite<'a>(tree: &Stmt<'a>) -> Stmt<'a> {
    let mut rewriter = Rewriter::default();
    match rewriter.statement(tree) {
        mut one if one.len() == 1 => one.swap_remove(0),
        children => Stmt::Template(Spanned::new(Template { children }, Span::default())),
    }
}

#[derive(Default)]
struct Rewriter {
    /// Whether the macro at hand names these.
    names_varargs: bool,
    names_kwargs: bool,
}

/// A call of one of the functions that no template can name.
fn call<'a>(function: &'a str, arguments: Vec<Expr<'a>>, span: Span) -> Expr<'a> {
    let expr = variable(function, span);
    Expr::Call(Spanned::new(Call { expr, args: arguments.into_iter().map(CallArg::Pos).collect() }, span))
}

fn variable(id: &str, span: Span) -> Expr<'_> {
    Expr::Var(Spanned::new(Var { id }, span))
}

fn comparison(op: &CompareOpKind) -> &'static str {
    match op {
        CompareOpKind::Eq => "\u{1}==",
        CompareOpKind::Ne => "\u{1}!=",
        CompareOpKind::Lt => "\u{1}<",
        CompareOpKind::Lte => "\u{1}<=",
        CompareOpKind::Gt => "\u{1}>",
        CompareOpKind::Gte => "\u{1}>=",
        CompareOpKind::In => "\u{1}in",
        CompareOpKind::NotIn => "\u{1}not in",
    }
}

impl Rewriter {
    fn body<'a>(&mut self, body: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
        body.iter().flat_map(|statement| self.statement(statement)).collect()
    }

    fn statement<'a>(&mut self, statement: &Stmt<'a>) -> Vec<Stmt<'a>> {
        vec![match statement {
            Stmt::Template(it) => {
                Stmt::Template(Spanned::new(Template { children: self.body(&it.children) }, it.span()))
            }
            Stmt::EmitExpr(it) => {
                Stmt::EmitExpr(Spanned::new(EmitExpr { expr: self.expr(&it.expr) }, it.span()))
            }
            Stmt::EmitRaw(it) => Stmt::EmitRaw(Spanned::new(EmitRaw { raw: it.raw }, it.span())),
            Stmt::ForLoop(it) => {
                let it_new = ForLoop {
                    target: self.expr(&it.target),
                    iter: self.expr(&it.iter),
                    filter_expr: self.option(&it.filter_expr),
                    recursive: it.recursive,
                    body: self.body(&it.body),
                    else_body: self.body(&it.else_body),
                };
                Stmt::ForLoop(Spanned::new(it_new, it.span()))
            }
            Stmt::IfCond(it) => {
                let it_new = IfCond {
                    expr: self.expr(&it.expr),
                    true_body: self.body(&it.true_body),
                    false_body: self.body(&it.false_body),
                };
                Stmt::IfCond(Spanned::new(it_new, it.span()))
            }
            Stmt::WithBlock(it) => {
                let span = it.span();
                let (targets, values): (Vec<_>, Vec<_>) =
                    it.assignments.iter().map(|(to, from)| (self.expr(to), self.expr(from))).unzip();
                // All at once: none sees another.
                let targets = Expr::List(Spanned::new(List { items: targets }, span));
                let values = Expr::Tuple(Spanned::new(Tuple { items: values }, span));
                let assignments = if it.assignments.is_empty() { vec![] } else { vec![(targets, values)] };
                Stmt::WithBlock(Spanned::new(WithBlock { assignments, body: self.body(&it.body) }, span))
            }
            Stmt::Set(it) => {
                let it_new = Set { target: self.expr(&it.target), expr: self.expr(&it.expr) };
                Stmt::Set(Spanned::new(it_new, it.span()))
            }
            Stmt::SetBlock(it) => {
                let it_new = SetBlock {
                    target: self.expr(&it.target),
                    filter: self.option(&it.filter),
                    body: self.body(&it.body),
                };
                Stmt::SetBlock(Spanned::new(it_new, it.span()))
            }
            Stmt::AutoEscape(it) => {
                let it_new = AutoEscape { enabled: self.expr(&it.enabled), body: self.body(&it.body) };
                Stmt::AutoEscape(Spanned::new(it_new, it.span()))
            }
            Stmt::FilterBlock(it) => {
                let it_new = FilterBlock {
                    filter: self.expr(&it.filter),
                    filter_span: it.filter_span,
                    body: self.body(&it.body),
                };
                Stmt::FilterBlock(Spanned::new(it_new, it.span()))
            }
            Stmt::Block(it) => {
                let it_new = Block { name: it.name, required: it.required, body: self.body(&it.body) };
                Stmt::Block(Spanned::new(it_new, it.span()))
            }
            Stmt::Import(it) => {
                let it_new = Import { expr: self.expr(&it.expr), name: self.expr(&it.name) };
                Stmt::Import(Spanned::new(it_new, it.span()))
            }
            Stmt::FromImport(it) => {
                let names =
                    it.names.iter().map(|(name, alias)| (self.expr(name), self.option(alias))).collect();
                Stmt::FromImport(Spanned::new(FromImport { expr: self.expr(&it.expr), names }, it.span()))
            }
            Stmt::Extends(it) => {
                Stmt::Extends(Spanned::new(Extends { name: self.expr(&it.name) }, it.span()))
            }
            Stmt::Include(it) => {
                let it_new = Include { name: self.expr(&it.name), ignore_missing: it.ignore_missing };
                Stmt::Include(Spanned::new(it_new, it.span()))
            }
            Stmt::Macro(it) => return self.macro_statement(it),
            Stmt::CallBlock(it) => {
                let it_new = CallBlock {
                    call: self.call(&it.call),
                    call_expr_span: it.call_expr_span,
                    macro_decl: Spanned::new(self.macro_of(&it.macro_decl).0, it.macro_decl.span()),
                };
                Stmt::CallBlock(Spanned::new(it_new, it.span()))
            }
            Stmt::Continue(it) => Stmt::Continue(Spanned::new(Continue, it.span())),
            Stmt::Break(it) => Stmt::Break(Spanned::new(Break, it.span())),
            Stmt::Do(it) => Stmt::Do(Spanned::new(Do { call: self.call(&it.call) }, it.span())),
        }]
    }

    /// A macro whose defaults are filled in at the beginning of its body, where they may name earlier arguments; which
    /// of `varargs` and `kwargs` it names.
    fn macro_of<'a>(&mut self, it: &Spanned<Macro<'a>>) -> (Macro<'a>, bool, bool) {
        let outer = std::mem::take(self);
        let span = it.span();
        let with_default = it.args.iter().skip(it.args.len().saturating_sub(it.defaults.len()));
        let mut body = Vec::new();
        for (argument, default) in with_default.zip(&it.defaults) {
            let test = Test { name: "undefined", expr: self.expr(argument), args: vec![] };
            let set = Set { target: self.expr(argument), expr: self.expr(default) };
            body.push(Stmt::IfCond(Spanned::new(
                IfCond {
                    expr: Expr::Test(Spanned::new(test, span)),
                    true_body: vec![Stmt::Set(Spanned::new(set, span))],
                    false_body: vec![],
                },
                span,
            )));
        }
        body.extend(self.body(&it.body));
        let args = it.args.iter().map(|argument| self.expr(argument)).collect();
        let inner = std::mem::replace(self, outer);
        (Macro { name: it.name, args, defaults: vec![], body }, inner.names_varargs, inner.names_kwargs)
    }

    /// A macro, and where it takes more arguments than it names, the function that hands them over.
    fn macro_statement<'a>(&mut self, it: &Spanned<Macro<'a>>) -> Vec<Stmt<'a>> {
        let span = it.span();
        let (mut new, names_varargs, names_kwargs) = self.macro_of(it);
        if !names_varargs && !names_kwargs {
            return vec![Stmt::Macro(Spanned::new(new, span))];
        }
        let names: Vec<Value> = new
            .args
            .iter()
            .map(|argument| match argument {
                Expr::Var(argument) => Value::from(argument.id),
                _ => Value::UNDEFINED,
            })
            .collect();
        new.args.extend([variable("varargs", span), variable("kwargs", span)]);
        let constant = |value: Value| Expr::Const(Spanned::new(Const { value }, span));
        let arguments = vec![
            variable(it.name, span),
            constant(Value::from(names)),
            constant(Value::from(names_varargs)),
            constant(Value::from(names_kwargs)),
        ];
        let set = Set { target: variable(it.name, span), expr: call("\u{1}variadic", arguments, span) };
        vec![Stmt::Macro(Spanned::new(new, span)), Stmt::Set(Spanned::new(set, span))]
    }

    fn option<'a>(&mut self, expr: &Option<Expr<'a>>) -> Option<Expr<'a>> {
        expr.as_ref().map(|expr| self.expr(expr))
    }

    fn exprs<'a>(&mut self, exprs: &[Expr<'a>]) -> Vec<Expr<'a>> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    fn arguments<'a>(&mut self, arguments: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
        let argument = |argument: &CallArg<'a>| match argument {
            CallArg::Pos(expr) => CallArg::Pos(self.expr(expr)),
            CallArg::Kwarg(name, expr) => CallArg::Kwarg(name, self.expr(expr)),
            CallArg::PosSplat(expr) => CallArg::PosSplat(self.expr(expr)),
            CallArg::KwargSplat(expr) => CallArg::KwargSplat(self.expr(expr)),
        };
        arguments.iter().map(argument).collect()
    }

    fn call<'a>(&mut self, it: &Spanned<Call<'a>>) -> Spanned<Call<'a>> {
        Spanned::new(Call { expr: self.expr(&it.expr), args: self.arguments(&it.args) }, it.span())
    }

    fn expr<'a>(&mut self, expr: &Expr<'a>) -> Expr<'a> {
        let span = expr.span();
        match expr {
            Expr::Var(it) => {
                self.names_varargs |= it.id == "varargs";
                self.names_kwargs |= it.id == "kwargs";
                variable(it.id, span)
            }
            Expr::Const(it) => Expr::Const(Spanned::new(Const { value: it.value.clone() }, span)),
            Expr::Slice(it) => {
                let it_new = Slice {
                    expr: self.expr(&it.expr),
                    start: self.option(&it.start),
                    stop: self.option(&it.stop),
                    step: self.option(&it.step),
                };
                Expr::Slice(Spanned::new(it_new, span))
            }
            Expr::UnaryOp(it) => {
                let is_not = matches!(it.op, UnaryOpKind::Not);
                let op = if is_not { UnaryOpKind::Not } else { UnaryOpKind::Neg };
                Expr::UnaryOp(Spanned::new(UnaryOp { op, expr: self.expr(&it.expr) }, span))
            }
            Expr::BinOp(it) => {
                let (left, right) = (self.expr(&it.left), self.expr(&it.right));
                let function = match it.op {
                    BinOpKind::Eq => comparison(&CompareOpKind::Eq),
                    BinOpKind::Ne => comparison(&CompareOpKind::Ne),
                    BinOpKind::Lt => comparison(&CompareOpKind::Lt),
                    BinOpKind::Lte => comparison(&CompareOpKind::Lte),
                    BinOpKind::Gt => comparison(&CompareOpKind::Gt),
                    BinOpKind::Gte => comparison(&CompareOpKind::Gte),
                    BinOpKind::In => comparison(&CompareOpKind::In),
                    BinOpKind::Rem => "\u{1}%",
                    BinOpKind::Concat => "\u{1}~",
                    op => return Expr::BinOp(Spanned::new(BinOp { op, left, right }, span)),
                };
                call(function, vec![left, right], span)
            }
            Expr::Compare(it) => match it.ops.as_slice() {
                [one] => {
                    let arguments = vec![self.expr(&it.expr), self.expr(&one.expr)];
                    call(comparison(&one.op), arguments, span)
                }
                // The middle is computed once: left to the engine.
                several => {
                    let ops = several.iter().map(|one| CompareOp { op: one.op, expr: self.expr(&one.expr) });
                    let ops = ops.collect();
                    Expr::Compare(Spanned::new(Compare { expr: self.expr(&it.expr), ops }, span))
                }
            },
            Expr::IfExpr(it) => {
                let it_new = IfExpr {
                    test_expr: self.expr(&it.test_expr),
                    true_expr: self.expr(&it.true_expr),
                    false_expr: self.option(&it.false_expr),
                };
                Expr::IfExpr(Spanned::new(it_new, span))
            }
            Expr::Filter(it) => {
                let given = self.option(&it.expr);
                let given = match given {
                    Some(given) if OF_TEXT.contains(&it.name) => Some(call("\u{1}str", vec![given], span)),
                    given => given,
                };
                let args = self.arguments(&it.args);
                Expr::Filter(Spanned::new(Filter { name: it.name, expr: given, args }, span))
            }
            Expr::Test(it) => {
                let it_new =
                    Test { name: it.name, expr: self.expr(&it.expr), args: self.arguments(&it.args) };
                Expr::Test(Spanned::new(it_new, span))
            }
            Expr::GetAttr(it) => {
                Expr::GetAttr(Spanned::new(GetAttr { expr: self.expr(&it.expr), name: it.name }, span))
            }
            Expr::GetItem(it) => {
                let subscript_expr = self.expr(&it.subscript_expr);
                Expr::GetItem(Spanned::new(GetItem { expr: self.expr(&it.expr), subscript_expr }, span))
            }
            Expr::Call(it) => Expr::Call(self.call(it)),
            Expr::List(it) => Expr::List(Spanned::new(List { items: self.exprs(&it.items) }, span)),
            Expr::Tuple(it) => Expr::Tuple(Spanned::new(Tuple { items: self.exprs(&it.items) }, span)),
            Expr::Map(it) => {
                let it_new = Map { keys: self.exprs(&it.keys), values: self.exprs(&it.values) };
                Expr::Map(Spanned::new(it_new, span))
            }
        }
    }
}
