//! What is stored of a field, under which name, and in which column.

use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Field, LitStr, Path};

use super::super::parse::{Ch, FieldOptions};
use super::names::name;
use super::{Layout, foreign_option};
use crate::case::Rule;
use crate::faults::Faults;

pub(in super::super) struct PayloadField<'i> {
    pub(in super::super) field: &'i Field,
    pub(in super::super) name: String,
    pub(in super::super) flatten: bool,
    pub(in super::super) value: Value,
    pub(in super::super) skip_if: Option<Path>,
    pub(in super::super) column: ColumnOptions,
}

/// What is stored.
pub(in super::super) enum Value {
    /// The field.
    Plain,
    /// What the function makes of it.
    With(Path),
    /// A placeholder.
    Redacted,
}

/// `ch(..)` as texts.
#[derive(Default)]
pub(in super::super) struct ColumnOptions {
    pub(in super::super) ty: Option<String>,
    pub(in super::super) codec: Option<String>,
    pub(in super::super) default: Option<String>,
    pub(in super::super) comment: Option<String>,
}

/// The column that every event has, and that exactly once rests on.
const ID_COLUMN: &str = "event_id";

/// The fields of the payload, in their order.
pub(in super::super) fn payload<'i>(
    fields: impl Iterator<Item = (&'i Field, FieldOptions)>,
    rule: Option<Rule>,
    layout: Layout,
    faults: &mut Faults,
) -> Vec<PayloadField<'i>> {
    let mut payload: Vec<PayloadField<'i>> = Vec::new();
    for (field, options) in fields {
        conflicts(&options, layout, faults);
        let Some(field) = payload_field(field, options, rule, faults) else { continue };
        let place =
            || field.field.ident.as_ref().map_or_else(|| field.field.to_token_stream(), ToTokens::to_token_stream);
        if !field.flatten && payload.iter().any(|earlier| !earlier.flatten && earlier.name == field.name) {
            faults
                .at(place(), format_args!("two fields are stored as `{}`: rename one of them, or skip it", field.name));
        }
        if layout == Layout::Columns && !field.flatten && field.name == ID_COLUMN {
            faults.at(
                place(),
                format_args!("the column `{ID_COLUMN}` holds the id of the event itself: rename this field"),
            );
        }
        payload.push(field);
    }
    payload
}

fn conflicts(options: &FieldOptions, layout: Layout, faults: &mut Faults) {
    let FieldOptions { key, timestamp, rename, skip, flatten, with, sensitive, ch, serde } = options;
    if let Some(skip) = skip {
        // The key of a skipped field can still be made with a function.
        let with = with.is_some() && key.is_none();
        let others = [
            (rename.is_some(), "rename"),
            (flatten.is_some(), "flatten"),
            (with, "with"),
            (sensitive.is_some(), "sensitive"),
            (ch.is_some(), "ch"),
        ];
        for (_, other) in others.into_iter().filter(|(given, _)| *given) {
            faults.at(skip, format_args!("a field that is skipped has no use for `{other}`"));
        }
    } else if let (Some(flatten), Some(_)) = (flatten, rename) {
        faults.at(flatten, "a field that is flattened has no name of its own: leave `rename` or `flatten` out");
    }
    if let Some(sensitive) = sensitive {
        if let Some(key) = key {
            faults.at(
                key,
                "a key is stored: for a sensitive one say what to store instead, `#[event_log(key, with = path)]`",
            );
        }
        if let Some(timestamp) = timestamp {
            faults.at(timestamp, "the time of an event is stored as it is: it cannot be a sensitive field");
        }
        if with.is_some() {
            faults.at(
                sensitive,
                "either `with` says what is stored, or `sensitive` that nothing is: leave one of them out",
            );
        }
        if flatten.is_some() {
            faults.at(sensitive, "which of the members are sensitive is for their own type to say: leave `flatten` out, or `skip` the field");
        }
    }
    if let Some(ch) = ch {
        if layout == Layout::Context {
            faults.at(&ch.place, "`ch` is for a column of the field's own, and this event has one for all fields: say `layout = \"columns\"` on the type");
        } else if let Some(flatten) = flatten {
            faults.at(flatten, "a field that is flattened is several columns: say `ch` at the members of its type");
        }
        for empty in
            [&ch.ty, &ch.codec, &ch.default].into_iter().flatten().filter(|text| text.value().trim().is_empty())
        {
            faults.at(empty, "this is empty: leave the option out, and it follows from the field's type");
        }
    }
    if let (Some(foreign), None, None, None) = (&serde.foreign, skip, with, sensitive) {
        foreign_option(foreign, "say `#[event_log(with = path)]` or `#[event_log(skip)]` here as well", faults);
    }
}

fn payload_field<'i>(
    field: &'i Field,
    options: FieldOptions,
    rule: Option<Rule>,
    faults: &mut Faults,
) -> Option<PayloadField<'i>> {
    let FieldOptions { rename, skip, flatten, with, sensitive, ch, serde, .. } = options;
    // Serde's skip is a default: an option of ours that only makes sense for a stored field wins.
    let stored =
        [rename.is_some(), flatten.is_some(), with.is_some(), sensitive.is_some(), ch.is_some()].contains(&true);
    if skip.is_some() || (serde.skip && !stored) {
        return None;
    }
    let flatten = flatten.is_some() || (serde.flatten && rename.is_none() && sensitive.is_none());
    let name = match (name(rename.as_ref(), faults), serde.rename, &field.ident) {
        (Some(name), ..) => name,
        (None, Some(name), _) => name.value(),
        (None, None, Some(ident)) => {
            let plain = ident.unraw().to_string();
            rule.map_or(plain.clone(), |rule| rule.apply(&plain))
        }
        (None, None, None) if flatten => "0".to_owned(),
        (None, None, None) => {
            faults.at(
                &field.ty,
                "this field has no name to be stored under: give it one, `#[event_log(rename = \"..\")]`, or `flatten` or `skip` it",
            );
            return None;
        }
    };
    let (value, skip_if) = match (sensitive, with) {
        // Whether it is there would be a hint at what it is.
        (Some(_), _) => (Value::Redacted, None),
        (None, Some(with)) => (Value::With(with), serde.skip_if),
        (None, None) => (Value::Plain, serde.skip_if),
    };
    Some(PayloadField { field, name, flatten, value, skip_if, column: ch.map(ColumnOptions::from).unwrap_or_default() })
}

impl From<Ch> for ColumnOptions {
    fn from(Ch { ty, codec, default, comment, .. }: Ch) -> Self {
        let text = |given: Option<LitStr>| given.map(|text| text.value());
        Self { ty: text(ty), codec: text(codec), default: text(default), comment: text(comment) }
    }
}
