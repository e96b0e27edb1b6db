//! Which ClickHouse type holds the values of a Rust type, known at compile time.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use uuid::Uuid;

/// A Rust type whose JSON fits into a column of a ClickHouse type, for the layout `columns`.
///
/// | Rust | ClickHouse |
/// |---|---|
/// | `bool`, `i8` to `i128`, `u8` to `u128`, `f32`, `f64` | `Bool`, `Int8` to `Int128`, `UInt8` to `UInt128`, `Float32`, `Float64` |
/// | `isize`, `usize` | `Int64`, `UInt64` |
/// | `String`, `str`, `char`, `serde_json::Value` | `String` |
/// | `Uuid` | `UUID` |
/// | `DateTime<_>`, `NaiveDateTime`, `NaiveDate`, `NaiveTime` | `DateTime64(6, 'UTC')`, `DateTime64(6)`, `Date32`, `String` |
/// | `Ipv4Addr`, `Ipv6Addr`, `IpAddr` | `IPv4`, `IPv6`, `IPv6` |
/// | `Option<T>` | `Nullable(T)` |
/// | `Vec<T>`, `VecDeque<T>`, `[T]`, `[T; N]`, sets | `Array(T)` |
/// | maps | `Map(K, V)` |
/// | tuples of two to four | `Tuple(..)` |
/// | `&T`, `Box<T>`, `Rc<T>`, `Arc<T>`, `Cow<T>` | as `T` |
///
/// A single field takes another type with `#[event_log(ch(type = ".."))]`; a type of one's own takes its type for good:
///
/// # Examples
/// ```
/// use outbox_core::{ClickHouseScalar, ClickHouseType, ColumnType};
///
/// #[derive(serde::Serialize)]
/// struct Cents(i64);
///
/// impl ClickHouseType for Cents {
///     const TYPE: ColumnType = ColumnType::named("Decimal(18, 2)");
/// }
/// impl ClickHouseScalar for Cents {} // `Option<Cents>` is Nullable(Decimal(18, 2))
///
/// assert_eq!(<Vec<Option<Cents>>>::TYPE.to_string(), "Array(Nullable(Decimal(18, 2)))");
/// ```
#[diagnostic::on_unimplemented(
    message = "no ClickHouse type is known for `{Self}`",
    label = "a column needs a type",
    note = "say it at the field, `#[event_log(ch(type = \"String\"))]`, or implement `outbox::ClickHouseType` for `{Self}`"
)]
pub trait ClickHouseType {
    /// The type of its columns.
    const TYPE: ColumnType;
}

/// A type whose columns can be `Nullable`: ClickHouse has no nullable arrays, maps or tuples.
#[diagnostic::on_unimplemented(
    message = "ClickHouse has no `Nullable` for the type of `{Self}`",
    label = "an `Option` of this has no column type",
    note = "arrays, maps and tuples are never NULL: leave the `Option` out, or say `#[event_log(ch(type = \"..\"))]` at the field \
            and an absent value is stored as that type's default",
    note = "for a type of your own, implement `outbox::ClickHouseScalar`"
)]
pub trait ClickHouseScalar: ClickHouseType {}

/// A ClickHouse type. `Display` writes it as SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnType(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Named(&'static str),
    /// A name around other types.
    Of(&'static str, &'static [&'static ColumnType]),
}

impl ColumnType {
    /// Any type by its SQL: `LowCardinality(String)`.
    #[must_use]
    pub const fn named(sql: &'static str) -> Self {
        Self(Kind::Named(sql))
    }

    /// A type with parameters that are types: `Array`, `Map`.
    #[must_use]
    pub const fn of(name: &'static str, inner: &'static [&'static Self]) -> Self {
        Self(Kind::Of(name, inner))
    }

    /// The type of what a function returns: of a field that is stored `with` one.
    #[must_use]
    pub const fn returned_by<A, R: ClickHouseType>(_: fn(A) -> R) -> Self {
        R::TYPE
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Named(sql) => f.write_str(sql),
            Kind::Of(name, inner) => {
                write!(f, "{name}(")?;
                for (at, inner) in inner.iter().enumerate() {
                    write!(f, "{}{inner}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

macro_rules! scalars {
    ($($rust:ty => $sql:literal),* $(,)?) => { $(
        impl ClickHouseType for $rust {
            const TYPE: ColumnType = ColumnType::named($sql);
        }
        impl ClickHouseScalar for $rust {}
    )* };
}

scalars! {
    bool => "Bool",
    i8 => "Int8", i16 => "Int16", i32 => "Int32", i64 => "Int64", i128 => "Int128", isize => "Int64",
    u8 => "UInt8", u16 => "UInt16", u32 => "UInt32", u64 => "UInt64", u128 => "UInt128", usize => "UInt64",
    f32 => "Float32", f64 => "Float64",
    char => "String", str => "String", String => "String", serde_json::Value => "String", NaiveTime => "String",
    Uuid => "UUID",
    // Whole days from 1900 on, where `Date` begins in 1970.
    NaiveDate => "Date32",
    NaiveDateTime => "DateTime64(6)",
    Ipv4Addr => "IPv4", Ipv6Addr => "IPv6", IpAddr => "IPv6",
}

impl<Tz: TimeZone> ClickHouseType for DateTime<Tz> {
    const TYPE: ColumnType = ColumnType::named("DateTime64(6, 'UTC')");
}
impl<Tz: TimeZone> ClickHouseScalar for DateTime<Tz> {}

impl<T: ClickHouseScalar> ClickHouseType for Option<T> {
    const TYPE: ColumnType = ColumnType::of("Nullable", &[&T::TYPE]);
}

macro_rules! arrays {
    ($($array:ty $(where $hasher:ident)?),* $(,)?) => { $(
        impl<T: ClickHouseType $(, $hasher)?> ClickHouseType for $array {
            const TYPE: ColumnType = ColumnType::of("Array", &[&T::TYPE]);
        }
    )* };
}

arrays!(Vec<T>, VecDeque<T>, [T], BTreeSet<T>, HashSet<T, S> where S);

impl<T: ClickHouseType, const N: usize> ClickHouseType for [T; N] {
    const TYPE: ColumnType = ColumnType::of("Array", &[&T::TYPE]);
}

impl<K: ClickHouseType, V: ClickHouseType> ClickHouseType for BTreeMap<K, V> {
    const TYPE: ColumnType = ColumnType::of("Map", &[&K::TYPE, &V::TYPE]);
}

impl<K: ClickHouseType, V: ClickHouseType, S> ClickHouseType for HashMap<K, V, S> {
    const TYPE: ColumnType = ColumnType::of("Map", &[&K::TYPE, &V::TYPE]);
}

macro_rules! tuples {
    ($(($($part:ident),*))*) => { $(
        impl<$($part: ClickHouseType),*> ClickHouseType for ($($part),*) {
            const TYPE: ColumnType = ColumnType::of("Tuple", &[$(&$part::TYPE),*]);
        }
    )* };
}

tuples!((A, B)(A, B, C)(A, B, C, D));

macro_rules! pointers {
    ($($pointer:ty),* $(,)?) => { $(
        impl<T: ClickHouseType + ?Sized> ClickHouseType for $pointer {
            const TYPE: ColumnType = T::TYPE;
        }
        impl<T: ClickHouseScalar + ?Sized> ClickHouseScalar for $pointer {}
    )* };
}

pointers!(&T, Box<T>, Rc<T>, Arc<T>);

impl<T: ClickHouseType + ToOwned + ?Sized> ClickHouseType for Cow<'_, T> {
    const TYPE: ColumnType = T::TYPE;
}
impl<T: ClickHouseScalar + ToOwned + ?Sized> ClickHouseScalar for Cow<'_, T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_sql() {
        for (of, sql) in [
            (<&str>::TYPE, "String"),
            (<Option<Box<Uuid>>>::TYPE, "Nullable(UUID)"),
            (<Vec<Option<u8>>>::TYPE, "Array(Nullable(UInt8))"),
            (<HashMap<String, [i64; 3]>>::TYPE, "Map(String, Array(Int64))"),
            (<(Cow<'_, str>, DateTime<chrono::Utc>)>::TYPE, "Tuple(String, DateTime64(6, 'UTC'))"),
        ] {
            assert_eq!(of.to_string(), sql);
        }
    }

    #[test]
    fn a_function_s_result_has_a_type() {
        fn halves(text: &str) -> (&str, &str) {
            text.split_at(text.len() / 2)
        }
        const OF: ColumnType = ColumnType::returned_by(|text: &String| halves(text));
        assert_eq!(OF.to_string(), "Tuple(String, String)");
    }
}
