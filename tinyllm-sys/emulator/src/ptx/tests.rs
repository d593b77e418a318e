//! PTX as compilers write it, and what is not PTX.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{
    ast::{Initializer, Linking, Operand, Space, Statement, Type},
    parse,
};

const KERNEL: &str = r#"
// Generated
.version 8.0
.target sm_80, debug
.address_size 64
.file 1 "add.cu"
.global .align 4 .f32 table[2][2] = {{0f3F800000, 2.0}, {-1.5}};
.const .align 8 .u64 where = table+8;
.extern .shared .align 16 .b8 dynamic[];
.visible .entry add(
    .param .u64 .ptr .global .align 4 add_param_0,
    .param .align 8 .b8 add_param_1[16]
)
.maxntid 256, 1, 1
.minnctapersm 2
{
    .reg .pred %p<3>;
    .reg .b32 %r<9>, %single;
    .loc 1 7 3
    ld.param.u64 %rd1, [add_param_0+8];
    @!%p1 bra $L__exit;
    { // begin inline asm
        .reg .b32 t;
        mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2}, {%r1}, {%r2}, {%f1, -5};
        ld.global.L2::128B.nc.v2.f32 {%f1, _}, [%rd1+-16];
    }
    mov.u64 %rd2, table[3];
    mov.u64 %rd2, table[-1];
    shfl.sync.down.b32 %r5|%p2, %tid.x, 0x10, 31, -1;
    call.uni (retval0), helper, (param0, param1);
$L__exit:
    ret;
}
"#;

#[test]
fn what_compilers_write_is_read() {
    let module = parse(KERNEL).unwrap();
    assert_eq!((module.version, module.address_size), ((8, 0), 64));
    assert_eq!(module.target, ["sm_80", "debug"]);
    assert_eq!(module.files, [(1, "add.cu".to_owned())]);
    let [table, pointer, dynamic] = module.variables.as_slice() else { panic!("three variables") };
    assert_eq!((table.ty, table.dims.as_slice()), (Type::F32, &[Some(2), Some(2)][..]));
    let bits = |value: f32| Initializer::Bits(u64::from(value.to_bits()));
    assert_eq!(table.init, [bits(1.0), bits(2.0), bits(-1.5)]);
    assert_eq!(pointer.init, [Initializer::Address { name: "table".into(), offset: 8, generic: false }]);
    assert_eq!(
        (dynamic.linking, dynamic.space, dynamic.dims.as_slice()),
        (Linking::Extern, Space::Shared, &[None][..])
    );

    let kernel = &module.functions[0];
    assert!(kernel.kernel);
    assert_eq!(kernel.max_threads, Some([256, 1, 1]));
    assert_eq!(kernel.directives, [("minnctapersm".to_owned(), vec![2])]);
    assert_eq!((kernel.params[0].ty, kernel.params[1].align_bytes), (Type::U64, 8));
    let body = kernel.body.as_deref().unwrap();
    let instructions: Vec<_> = body
        .iter()
        .filter_map(|statement| match statement {
            Statement::Instruction(instruction) => Some(instruction),
            _ => None,
        })
        .collect();
    assert_eq!(instructions[0].line, 20);
    assert_eq!(instructions[0].operands[1], Operand::Address { base: Some("add_param_0".into()), offset: 8 });
    assert!(instructions[1].guard.as_ref().is_some_and(|guard| guard.negated && guard.register == "%p1"));
    assert_eq!(instructions[2].operands[1], Operand::Element("table".into(), 3));
    assert_eq!(instructions[3].operands[1], Operand::Element("table".into(), -1));
    let shuffle = instructions[4];
    assert_eq!((shuffle.opcode.as_str(), shuffle.modifiers.join(".")), ("shfl", "sync.down.b32".to_owned()));
    assert_eq!(shuffle.operands[1], Operand::Name("%tid.x".into()));
    assert_eq!(shuffle.operands[4], Operand::Integer(u64::MAX));
    assert_eq!(shuffle.text, "shfl.sync.down.b32 %r5|%p2, %tid.x, 0x10, 31, -1");
    let inner = body
        .iter()
        .find_map(|statement| match statement {
            Statement::Block(inner) => Some(inner),
            _ => None,
        })
        .unwrap();
    let Statement::Instruction(load) = &inner[2] else { panic!("a load") };
    assert_eq!(load.modifiers, ["global", "L2::128B", "nc", "v2", "f32"]);
    assert_eq!(load.operands[1], Operand::Address { base: Some("%rd1".into()), offset: -16 });
    assert_eq!(load.operands[0], Operand::Vector(vec![Operand::Name("%f1".into()), Operand::Discard]));
}

#[test]
fn what_is_wrong_is_named_by_its_line() {
    for (text, line, problem) in [
        ("", 1, "no .version"),
        ("not ptx", 1, "a directive such as .entry was expected, found `not`"),
        (".version 8.0\n.entry a() {\n  add.u32 %r1 %r2;\n}", 3, "`;` was expected, found `%r2`"),
        (".version 8.0\n.global .u31 x;", 2, "a state space or a type was expected, found `.u31`"),
        (".version 8.0\n.entry a() {\n", 2, "an instruction or `}` was expected, found the end"),
        (".version 8.0\n/* open", 2, "a comment without an end"),
        (".version 8.0\n.global .f32 x = 0f12;", 2, "8 or 16 hexadecimal digits"),
        (".version 8.0\n.reg .b32 %r<99999999>;", 2, "99999999 registers"),
        (".version 8.0\n\u{e9}", 2, "a character that PTX does not have"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.problem.contains(problem), "{text}: {error}");
    }
    let deep = format!(".version 8.0\n.entry a() {{ {} }}", "{".repeat(1000));
    assert!(parse(&deep).unwrap_err().problem.contains("at most 64 deep"));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_much(cut in 0..KERNEL.len(), byte in proptest::prelude::any::<char>()) {
        let text: String = KERNEL.chars().take(cut).chain([byte]).chain(KERNEL.chars().skip(cut + 1)).collect();
        let _ = parse(&text);
    }
}
