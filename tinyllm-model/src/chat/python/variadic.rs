//! A macro that takes more arguments than it names: they are its `varargs` and `kwargs`.

use std::sync::Arc;

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, Object, ObjectRepr, Tuple},
};

/// What stands for such a macro. The macro itself takes both as its last two arguments.
#[derive(Debug)]
struct Variadic {
    inner: Value,
    names: Vec<String>,
    takes_varargs: bool,
    takes_kwargs: bool,
}

/// The function that hands over what a macro with these argument names does not name.
pub(super) fn variadic(inner: Value, names: Vec<String>, takes_varargs: bool, takes_kwargs: bool) -> Value {
    Value::from_object(Variadic { inner, names, takes_varargs, takes_kwargs })
}

impl Object for Variadic {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, arguments: &[Value]) -> Result<Value, Error> {
        let keywords = arguments.last().filter(|last| last.is_kwargs());
        let positional = &arguments[..arguments.len() - usize::from(keywords.is_some())];
        let (named, more) = positional.split_at(positional.len().min(self.names.len()));
        if !more.is_empty() && !self.takes_varargs {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        let mut given: Vec<Value> = named.to_vec();
        given.resize(self.names.len(), Value::UNDEFINED);
        let (mut rest, mut caller) = (Vec::new(), None);
        let pairs = keywords.and_then(Value::as_object).and_then(|keywords| keywords.try_iter_pairs());
        for (key, value) in pairs.into_iter().flatten() {
            let name = key.as_str().unwrap_or_default();
            match self.names.iter().position(|known| known == name) {
                Some(at) if at < named.len() => {
                    let problem = format!("duplicate argument `{name}`");
                    return Err(Error::new(ErrorKind::TooManyArguments, problem));
                }
                Some(at) => given[at] = value,
                None if name == "caller" => caller = Some(value),
                None if self.takes_kwargs => rest.push((key, value)),
                None => {
                    let problem = format!("unknown keyword argument `{name}`");
                    return Err(Error::new(ErrorKind::TooManyArguments, problem));
                }
            }
        }
        given.push(Value::from(Tuple::from(more.to_vec())));
        given.push(Value::from_pairs(rest));
        given.extend(caller.map(|caller| Value::from(Kwargs::from_iter([("caller", caller)]))));
        self.inner.call(state, &given)
    }
}
