//! The forms of PTX that are run. What is not here is an error when a module is loaded; what is here is held against the
//! manual by the tests, form by form, and `docs/ptx-forms.md` is written from it.

mod notation;
mod sets;
mod table;

use std::{collections::HashMap, sync::LazyLock};

use self::notation::Places;
pub use self::table::SECTIONS;

/// A form, or several that differ in a word.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Names of opcodes that have it, between spaces.
    pub opcodes: &'static str,
    /// What follows the name, in the manual's notation. Words in capitals are sets: [`sets()`].
    pub notation: &'static str,
    /// The least target: 80 for sm_80, which is also said of what older ones have.
    pub target: u32,
}

/// Forms of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// Its forms.
    pub forms: &'static [Form],
}

/// The sets that a form's notation names, with their words.
pub fn sets() -> &'static [(&'static str, &'static [&'static str])] {
    &sets::SETS
}

impl Form {
    /// Every instruction of the form, as `add.rn.ftz.f32`.
    pub fn spelled(&self) -> Vec<String> {
        let endings = Places::new(self.notation).spelled();
        let opcodes = self.opcodes.split(' ');
        opcodes.flat_map(|opcode| endings.iter().map(move |ending| format!("{opcode}{ending}"))).collect()
    }
}

/// The forms of each opcode.
static BY_OPCODE: LazyLock<HashMap<&'static str, Vec<(&'static Form, Places)>>> = LazyLock::new(|| {
    let mut opcodes: HashMap<_, Vec<_>> = HashMap::new();
    for form in SECTIONS.iter().flat_map(|section| section.forms) {
        for opcode in form.opcodes.split(' ') {
            opcodes.entry(opcode).or_default().push((form, Places::new(form.notation)));
        }
    }
    opcodes
});

/// Whether an instruction is of a form that is run on a target.
///
/// # Errors
/// What is wrong, in words, and what the opcode has instead.
pub(crate) fn check(opcode: &str, modifiers: &[String], target: u32) -> Result<(), String> {
    let forms = BY_OPCODE.get(opcode).ok_or_else(|| format!("there is no {opcode} here"))?;
    let mut most = 0u64;
    let mut later = None;
    for (form, places) in forms {
        match places.fit(modifiers) {
            (_, true) if form.target <= target.max(80) => return Ok(()),
            (_, true) => later = Some(form.target),
            (fitting, false) if fitting.count_ones() > most.count_ones() => most = fitting,
            _ => {}
        }
    }
    if let Some(later) = later {
        return Err(format!("this form needs .target sm_{later}"));
    }
    let known: Vec<String> = forms.iter().map(|(form, _)| format!("{opcode}{}", form.notation)).collect();
    let problem = match modifiers
        .iter()
        .enumerate()
        .find(|(index, _)| most.checked_shr(*index as u32).unwrap_or(0) & 1 == 0)
    {
        Some((_, word)) => format!("no .{word} here"),
        None => "more has to follow".to_owned(),
    };
    Err(format!("{problem}; there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::check;

    fn words(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn forms_fit_whole_and_types_in_order() {
        assert_eq!(check("add", &words("rn.ftz.sat.f32"), 80), Ok(()));
        assert_eq!(check("add", &words("f32"), 80), Ok(()));
        // As libcu++ writes them.
        assert_eq!(check("atom", &words("add.acquire.gpu.u64"), 80), Ok(()));
        assert_eq!(check("fence", &words("gpu.sc"), 80), Ok(()));
        assert_eq!(check("min", &words("NaN.xorsign.abs.f32"), 86), Ok(()));
        for (opcode, text, problem) in [
            ("cvt", "rni.f32.s32", "no .s32 here; "),
            ("add", "ftz.ftz.f32", "no .ftz here; there are "),
            ("add", "rn.u32", "no .rn here; "),
            ("add", "rn", "more has to follow; there are add.INT, "),
            ("min", "xorsign.f32", "no .xorsign here; "),
            ("frobnicate", "f32", "there is no frobnicate here"),
        ] {
            let error = check(opcode, &words(text), 90).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn later_forms_need_later_targets() {
        assert_eq!(check("add", &words("bf16"), 90), Ok(()));
        assert_eq!(check("add", &words("bf16"), 80).unwrap_err(), "this form needs .target sm_90");
    }
}
