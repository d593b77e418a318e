//! Metadata values: their types on disk and views of them. Nothing is copied: arrays and strings borrow the
//! header.

/// The type of a metadata value, or of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// IEEE single precision.
    F32,
    /// One byte, 0 or 1.
    Bool,
    /// UTF-8 with its length before it.
    String,
    /// Values of one type.
    Array,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE double precision.
    F64,
}

impl ValueType {
    /// The type with this number in a file.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        use ValueType::*;
        const BY_NUMBER: [ValueType; 13] =
            [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        BY_NUMBER.get(usize::try_from(number).ok()?).copied()
    }

    /// Bytes of a value; `None` where they vary.
    pub(super) const fn fixed_bytes(self) -> Option<usize> {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => Some(1),
            ValueType::U16 | ValueType::I16 => Some(2),
            ValueType::U32 | ValueType::I32 | ValueType::F32 => Some(4),
            ValueType::U64 | ValueType::I64 | ValueType::F64 => Some(8),
            ValueType::String | ValueType::Array => None,
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        }
    }

    /// The number that `bytes`, of [`ValueType::fixed_bytes`], hold. Strings and arrays are not numbers.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Value<'static>> {
        fn le<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
            bytes.try_into().ok()
        }
        Some(match self {
            ValueType::U8 => Value::Integer(u8::from_le_bytes(le(bytes)?).into()),
            ValueType::I8 => Value::Integer(i8::from_le_bytes(le(bytes)?).into()),
            ValueType::U16 => Value::Integer(u16::from_le_bytes(le(bytes)?).into()),
            ValueType::I16 => Value::Integer(i16::from_le_bytes(le(bytes)?).into()),
            ValueType::U32 => Value::Integer(u32::from_le_bytes(le(bytes)?).into()),
            ValueType::I32 => Value::Integer(i32::from_le_bytes(le(bytes)?).into()),
            ValueType::U64 => Value::Integer(u64::from_le_bytes(le(bytes)?).into()),
            ValueType::I64 => Value::Integer(i64::from_le_bytes(le(bytes)?).into()),
            ValueType::F32 => Value::Float(f32::from_le_bytes(le(bytes)?).into()),
            ValueType::F64 => Value::Float(f64::from_le_bytes(le(bytes)?)),
            ValueType::Bool => Value::Bool(bytes != [0]),
            ValueType::String | ValueType::Array => return None,
        })
    }
}

/// A metadata value, converted: any integer type is an `Integer`, both float types are a `Float`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An integer of any width and sign.
    Integer(i128),
    /// A float; an f32 converted exactly.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Text.
    String(&'a str),
    /// Values of one type, still encoded.
    Array(Array<'a>),
}

/// An array in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    pub(super) element: ValueType,
    pub(super) len: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Type of the elements; never [`ValueType::Array`].
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements of an array of strings; none for other types.
    pub fn strings(&self) -> Strings<'a> {
        match self.element {
            ValueType::String => Strings { bytes: self.bytes, left: self.len },
            _ => Strings { bytes: &[], left: 0 },
        }
    }

    /// The elements of an array of numbers or booleans; none for strings.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = Value<'a>> + Clone + use<'a> {
        let (element, size) = (self.element, self.element.fixed_bytes());
        let bytes = if size.is_some() { self.bytes } else { &[] };
        bytes
            .chunks_exact(size.unwrap_or(1))
            .map(move |number| element.decode(number).unwrap_or(Value::Integer(0)))
    }
}

/// The strings of an array, one after the other, borrowed from the header. They were checked to be UTF-8 when it was
/// read.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        let (len, rest) = self.bytes.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        self.bytes = rest;
        std::str::from_utf8(text).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}
