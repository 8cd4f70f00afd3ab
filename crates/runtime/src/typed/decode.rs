//! Values from JSON: read straight into what the component takes, without a document in between.
//!
//! Strict: what is not exactly of the type is refused, with the place where it stands. An integer
//! is read as what it is, never by way of a float. What is made is charged before it is made,
//! because two bytes of JSON may stand for forty of memory. Called by `invoke`.

use super::contract::Signature;
use super::shape::{Int, Shape};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use wasmtime::component::Val;

/// Characters of a caller's own text in a message.
const QUOTED: usize = 32;
/// Up to here every integer is a float of its width, too.
const EXACT_F64: u128 = 1 << 53;
const EXACT_F32: u128 = 1 << 24;

/// Why a text is no value of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misread {
    /// At this place stands something else.
    Unfit { path: String, problem: String },
    /// There is no room for what it says.
    TooMuch,
}

/// What is known while a text is read.
struct Reading<'a> {
    /// Where it stands. What fails leaves it as it is.
    path: RefCell<Vec<Step<'a>>>,
    problem: RefCell<Option<String>>,
    /// Whether there was no room.
    full: Cell<bool>,
    /// Asks for room.
    charge: &'a dyn Fn(usize) -> bool,
}

/// One step into a value.
#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

/// Reads one value of a shape.
#[derive(Clone, Copy)]
struct Expect<'a> {
    shape: &'a Shape,
    reading: &'a Reading<'a>,
    /// Whether null has been ruled out, of an option in an option.
    is_some: bool,
}

/// Reads a name, and looks it up.
struct Name<'a, F> {
    reading: &'a Reading<'a>,
    lookup: F,
}

/// Reads the null that stands where there is no payload.
struct Nothing<'a>(&'a Reading<'a>);

/// A shape, as it is asked for in a message.
struct Wanted<'a>(&'a Shape);

/// The parameters of a function, from a JSON object that has each by its name. No text at all
/// is an object without members. `charge` is asked for bytes before they are taken.
///
/// # Errors
/// When the text is no such object: what is in the way, and where.
pub(crate) fn arguments(
    signature: &Signature,
    text: &[u8],
    charge: &dyn Fn(usize) -> bool,
) -> Result<Vec<Val>, Misread> {
    let text = match text.trim_ascii() {
        [] => b"{}",
        text => text,
    };
    let reading = Reading {
        path: RefCell::default(),
        problem: RefCell::default(),
        full: Cell::new(false),
        charge,
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Expect::new(&signature.parameters, &reading)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    let values = read.map(|value| match value {
        Val::Record(members) => members.into_iter().map(|(_, value)| value).collect(),
        alone => vec![alone],
    });
    values.map_err(|error| match reading.full.get() {
        true => Misread::TooMuch,
        false => Misread::Unfit {
            path: reading.place(),
            problem: reading
                .problem
                .take()
                .unwrap_or_else(|| format!("here it is no JSON any more: {error}")),
        },
    })
}

impl<'a> Reading<'a> {
    /// Where it stands, as `$.point.x` or `$.list[3]`.
    fn place(&self) -> String {
        let mut place = "$".to_owned();
        for step in self.path.borrow().iter() {
            let _ = match step {
                Step::Member(name) => write!(place, ".{name}"),
                Step::Element(index) => write!(place, "[{index}]"),
            };
        }
        place
    }

    fn fail<E: Error>(&self, problem: String) -> E {
        let error = E::custom(&problem);
        self.problem.borrow_mut().get_or_insert(problem);
        error
    }

    /// Takes room, if there is any.
    fn take<E: Error>(&self, bytes: usize) -> Result<(), E> {
        if (self.charge)(bytes) {
            return Ok(());
        }
        self.full.set(true);
        Err(E::custom("there is no room for it"))
    }

    /// Reads something that is one step further in.
    fn within<T, E>(&self, step: Step<'a>, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.path.borrow_mut().push(step);
        let value = read()?;
        self.path.borrow_mut().pop();
        Ok(value)
    }

    fn text<E: Error>(&self, text: &str) -> Result<String, E> {
        self.take(text.len())?;
        Ok(text.to_owned())
    }
}

impl<'a> Expect<'a> {
    fn new(shape: &'a Shape, reading: &'a Reading<'a>) -> Expect<'a> {
        Expect {
            shape,
            reading,
            is_some: false,
        }
    }

    fn unfit<E: Error>(&self, found: &str) -> E {
        let problem = format!("it has to be {}, and is {found}", Wanted(self.shape));
        self.reading.fail(problem)
    }

    fn number<E: Error>(&self, number: i128) -> Result<Val, E> {
        let rounded = || {
            let found = format!("{number}, which it can not hold exactly; write it with a point");
            self.unfit(&found)
        };
        match self.shape {
            Shape::Int(int) => integer(*int, number).ok_or_else(|| self.unfit(&number.to_string())),
            #[expect(clippy::cast_precision_loss, reason = "there is none up to here")]
            Shape::F64 if number.unsigned_abs() <= EXACT_F64 => Ok(Val::Float64(number as f64)),
            #[expect(clippy::cast_precision_loss, reason = "there is none up to here")]
            Shape::F32 if number.unsigned_abs() <= EXACT_F32 => Ok(Val::Float32(number as f32)),
            Shape::F64 | Shape::F32 => Err(rounded()),
            _ => Err(self.unfit("a number")),
        }
    }

    /// The bytes of a text of base64.
    fn bytes<E: Error>(&self, text: &str) -> Result<Val, E> {
        let most = text.len().div_ceil(4).saturating_mul(3);
        self.reading.take(most.saturating_mul(size_of::<Val>()))?;
        let bytes = BASE64.decode(text).map_err(|error| {
            let found = format!("none: {error}");
            self.unfit::<E>(&found)
        })?;
        Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
    }

    /// The names of flags that a list has.
    fn flags<'de, A: SeqAccess<'de>>(
        &self,
        names: &'a [Box<str>],
        mut list: A,
    ) -> Result<Val, A::Error> {
        let mut set: Vec<String> = Vec::new();
        let reading = self.reading;
        let lookup = |name: &str| {
            let known = names.iter().find(|known| ***known == *name);
            known.ok_or_else(|| unknown("flag", name, names.iter()))
        };
        while let Some(flag) = reading.within(Step::Element(set.len()), || {
            let Some(flag) = list.next_element_seed(Name { reading, lookup })? else {
                return Ok(None);
            };
            if set.iter().any(|before| **before == **flag) {
                return Err(reading.fail(format!("the flag {flag} is there already")));
            }
            reading.take(size_of::<String>() + flag.len())?;
            Ok(Some(String::from(&**flag)))
        })? {
            set.push(flag);
        }
        Ok(Val::Flags(set))
    }

    /// What an object has, by the names of its members: a record, or all parameters.
    fn members<'de, A: MapAccess<'de>>(
        &self,
        fields: &'a [(Box<str>, Shape)],
        mut object: A,
    ) -> Result<Vec<(String, Val)>, A::Error> {
        let reading = self.reading;
        let mut values: Vec<Option<Val>> = vec![None; fields.len()];
        reading.take(size_of_val(values.as_slice()))?;
        let lookup = |name: &str| {
            let mut known = fields.iter();
            let found = known.position(|(known, _)| **known == *name);
            found.ok_or_else(|| unknown("member", name, fields.iter().map(|(name, _)| name)))
        };
        while let Some(index) = object.next_key_seed(Name { reading, lookup })? {
            let (Some((name, shape)), Some(slot)) = (fields.get(index), values.get_mut(index))
            else {
                continue;
            };
            reading.within(Step::Member(name), || {
                if slot.is_some() {
                    return Err(reading.fail("it is there twice".to_owned()));
                }
                *slot = Some(object.next_value_seed(Expect::new(shape, reading))?);
                Ok(())
            })?;
        }
        let mut record = Vec::with_capacity(fields.len());
        for ((name, shape), value) in fields.iter().zip(values) {
            reading.take(size_of::<(String, Val)>() + name.len())?;
            let value = match (value, shape) {
                (Some(value), _) => value,
                // What may be null may be left out, as everywhere in JSON.
                (None, Shape::Option(_)) => Val::Option(None),
                (None, _) => {
                    let problem = format!("the member {name} is missing; it is {}", Wanted(shape));
                    return Err(reading.fail(problem));
                }
            };
            record.push((String::from(&**name), value));
        }
        Ok(record)
    }

    /// The one member of an object: the name of a case, and its payload.
    fn case<'de, A: MapAccess<'de>>(
        &self,
        mut object: A,
        lookup: impl Fn(&str) -> Result<(&'a str, Option<&'a Shape>), String>,
    ) -> Result<(&'a str, Option<Box<Val>>), A::Error> {
        let reading = self.reading;
        let found = object.next_key_seed(Name { reading, lookup })?;
        let (name, payload) = found.ok_or_else(|| self.unfit("an object without members"))?;
        let payload = reading.within(Step::Member(name), || match payload {
            Some(shape) => object
                .next_value_seed(Expect::new(shape, reading))
                .map(Some),
            None => object.next_value_seed(Nothing(reading)).map(|()| None),
        })?;
        match object.next_key::<serde::de::IgnoredAny>()? {
            None => Ok((name, payload.map(Box::new))),
            Some(_) => Err(self.unfit("an object of several members")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Expect<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        self.reading.take(size_of::<Val>())?;
        match self.shape {
            Shape::Option(_) if !self.is_some => deserializer.deserialize_option(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Expect<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Wanted(self.shape))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Val, E> {
        match self.shape {
            Shape::Bool => Ok(Val::Bool(value)),
            _ => Err(self.unfit("true or false")),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Val, E> {
        self.number(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Val, E> {
        self.number(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Val, E> {
        match self.shape {
            Shape::F64 => Ok(Val::Float64(number)),
            Shape::F32 => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "rounded, as 0.1 is already"
                )]
                let rounded = number as f32;
                match rounded.is_finite() {
                    true => Ok(Val::Float32(rounded)),
                    false => Err(self.unfit("larger than any")),
                }
            }
            Shape::Int(_) => Err(self.unfit(&format!("{number}, which is no integer of its own"))),
            _ => Err(self.unfit("a number")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Val, E> {
        match self.shape {
            Shape::String => self.reading.text(text).map(Val::String),
            Shape::Bytes => self.bytes(text),
            Shape::Char => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Ok(Val::Char(char)),
                    _ => Err(self.unfit("another string")),
                }
            }
            Shape::Enum(names) => match names.iter().find(|name| ***name == *text) {
                Some(name) => self.reading.text(name).map(Val::Enum),
                None => Err(self.reading.fail(unknown("case", text, names.iter()))),
            },
            Shape::F64 => match special(text) {
                Some(number) => Ok(Val::Float64(number)),
                None => Err(self.unfit("a string")),
            },
            #[expect(clippy::cast_possible_truncation, reason = "no digits are in these")]
            Shape::F32 => match special(text) {
                Some(number) => Ok(Val::Float32(number as f32)),
                None => Err(self.unfit("a string")),
            },
            _ => Err(self.unfit("a string")),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Val, E> {
        Err(self.unfit("null"))
    }

    fn visit_none<E: Error>(self) -> Result<Val, E> {
        Ok(Val::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        let Shape::Option(inner) = self.shape else {
            return Err(self.unfit("something else"));
        };
        if matches!(**inner, Shape::Option(_)) {
            let nested = Expect {
                is_some: true,
                ..self
            };
            return deserializer.deserialize_any(nested);
        }
        let value = Expect::new(inner, self.reading).deserialize(deserializer)?;
        Ok(Val::Option(Some(Box::new(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Val, A::Error> {
        let reading = self.reading;
        match self.shape {
            Shape::List(element) => {
                let mut values = Vec::new();
                while let Some(value) = reading.within(Step::Element(values.len()), || {
                    list.next_element_seed(Expect::new(element, reading))
                })? {
                    values.push(value);
                }
                Ok(Val::List(values))
            }
            Shape::Tuple(parts) => {
                let mut values = Vec::with_capacity(parts.len());
                for part in parts {
                    let value = reading.within(Step::Element(values.len()), || {
                        list.next_element_seed(Expect::new(part, reading))
                    })?;
                    match value {
                        Some(value) => values.push(value),
                        None => {
                            return Err(self.unfit(&format!("a list of {}", values.len())));
                        }
                    }
                }
                match list.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(Val::Tuple(values)),
                    Some(_) => Err(self.unfit("a longer list")),
                }
            }
            Shape::Flags(names) => self.flags(names, list),
            _ => Err(self.unfit("a list")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Val, A::Error> {
        match self.shape {
            Shape::Record(fields) => self.members(fields, object).map(Val::Record),
            Shape::Variant(cases) => {
                let (name, payload) = self.case(object, |name| {
                    let found = cases.iter().find(|(known, _)| **known == *name);
                    let (name, payload) = found
                        .ok_or_else(|| unknown("case", name, cases.iter().map(|(name, _)| name)))?;
                    Ok((&**name, payload.as_ref()))
                })?;
                self.reading.take(name.len())?;
                Ok(Val::Variant(name.to_owned(), payload))
            }
            Shape::Result(ok, err) => {
                let (name, payload) = self.case(object, |name| match name {
                    "ok" => Ok(("ok", ok.as_deref())),
                    "err" => Ok(("err", err.as_deref())),
                    _ => Err(unknown("case", name, ["ok", "err"].iter())),
                })?;
                Ok(Val::Result(match name {
                    "ok" => Ok(payload),
                    _ => Err(payload),
                }))
            }
            Shape::Option(inner) if self.is_some => {
                let (_, payload) = self.case(object, |name| match name {
                    "some" => Ok(("some", Some(&**inner))),
                    _ => Err(unknown("case", name, ["some"].iter())),
                })?;
                Ok(Val::Option(payload))
            }
            _ => Err(self.unfit("an object")),
        }
    }
}

impl<'de, T, F: FnOnce(&str) -> Result<T, String>> DeserializeSeed<'de> for Name<'_, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Name<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, which is a string")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        let Name { reading, lookup } = self;
        lookup(name).map_err(|problem| reading.fail(problem))
    }
}

impl<'de> DeserializeSeed<'de> for Nothing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let problem = "it has to be null, because there is nothing to say here";
        let is_null = serde::Deserialize::deserialize(deserializer);
        let is_null: Result<Option<serde::de::IgnoredAny>, D::Error> = is_null;
        match is_null? {
            None => Ok(()),
            Some(_) => Err(self.0.fail(problem.to_owned())),
        }
    }
}

/// The integer of this width, if it is one.
fn integer(int: Int, number: i128) -> Option<Val> {
    match int {
        Int::U8 => number.try_into().ok().map(Val::U8),
        Int::U16 => number.try_into().ok().map(Val::U16),
        Int::U32 => number.try_into().ok().map(Val::U32),
        Int::U64 => number.try_into().ok().map(Val::U64),
        Int::S8 => number.try_into().ok().map(Val::S8),
        Int::S16 => number.try_into().ok().map(Val::S16),
        Int::S32 => number.try_into().ok().map(Val::S32),
        Int::S64 => number.try_into().ok().map(Val::S64),
    }
}

/// The numbers that JSON has no word for.
fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// That there is nothing of this name.
fn unknown<T: AsRef<str>>(what: &str, name: &str, known: impl Iterator<Item = T>) -> String {
    let known: Vec<String> = known.map(|name| name.as_ref().to_owned()).collect();
    let quoted: String = name.chars().take(QUOTED).collect();
    let known = match known.as_slice() {
        [] => "there is none".to_owned(),
        known => format!("write {}", known.join(", ")),
    };
    format!("there is no {what} {quoted:?}; {known}")
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Shape::Bool => f.write_str("true or false"),
            Shape::Int(int) => {
                let (least, most) = int.range();
                write!(f, "an integer from {least} to {most}")
            }
            Shape::F32 | Shape::F64 => {
                f.write_str("a number, or \"NaN\", \"Infinity\" or \"-Infinity\"")
            }
            Shape::Char => f.write_str("a string of one character"),
            Shape::String => f.write_str("a string"),
            Shape::Bytes => f.write_str("bytes as a string of base64"),
            Shape::List(_) => f.write_str("a list"),
            Shape::Tuple(parts) => write!(f, "a list of {}", parts.len()),
            Shape::Record(fields) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
                match names.as_slice() {
                    [] => f.write_str("an object without members"),
                    names => write!(f, "an object with the members {}", names.join(", ")),
                }
            }
            Shape::Variant(cases) => {
                let names: Vec<&str> = cases.iter().map(|(name, _)| &**name).collect();
                write!(f, "an object of one member: {}", names.join(" or "))
            }
            Shape::Enum(names) => write!(f, "one of {}", names.join(", ")),
            Shape::Flags(names) => write!(f, "a list of some of {}", names.join(", ")),
            Shape::Option(inner) if matches!(**inner, Shape::Option(_)) => {
                f.write_str("null, or an object of one member: some")
            }
            Shape::Option(inner) => write!(f, "null, or {}", Wanted(inner)),
            Shape::Result(..) => f.write_str("an object of one member: ok or err"),
        }
    }
}
