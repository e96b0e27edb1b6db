//! Options -> what to write: names, versions, tables and fields, each checked.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Field, Fields, LitInt, LitStr, Path};

use super::parse::{FieldOptions, Given, Named};
use crate::case::{Rule, snake_case};
use crate::faults::{Faults, did_you_mean};
use crate::options::one_of;

/// One event type: a struct, or a variant of an enum.
pub(super) struct EventCase<'i> {
    /// The variant, for an enum.
    pub(super) variant: Option<&'i Ident>,
    pub(super) name: String,
    pub(super) version: i32,
    pub(super) table: String,
    pub(super) content: Content<'i>,
    pub(super) key: Option<&'i Field>,
    pub(super) timestamp: Option<&'i Field>,
    pub(super) fields: &'i Fields,
}

pub(super) enum Content<'i> {
    /// Its fields.
    Fields(Vec<PayloadField<'i>>),
    /// The payload, key and time of the event that it wraps.
    Inner(&'i Field),
}

pub(super) struct PayloadField<'i> {
    pub(super) field: &'i Field,
    pub(super) name: String,
    pub(super) flatten: bool,
    pub(super) with: Option<Path>,
    pub(super) skip_if: Option<Path>,
}

/// The longest name that every store can hold, as in `outbox-core`.
const NAME_BYTES_MAX: usize = 255;

pub(super) fn check<'i>(input: &'i DeriveInput, given: Given, faults: &mut Faults) -> Vec<EventCase<'i>> {
    let Given { container, cases } = given;
    if let Some(foreign) = &container.serde.foreign {
        foreign_option(foreign, "implement `EventLog` by hand", faults);
    }
    let name = name(container.name.as_ref(), faults).unwrap_or_else(|| snake_case(&input.ident.unraw().to_string()));
    let version = version(container.version.as_ref(), faults).unwrap_or(1);
    let table = self::name(container.table.as_ref(), faults).unwrap_or_else(|| "event_log".to_owned());
    let rule = rule(container.rename_all.as_ref(), faults);

    let shapes: Vec<(Option<&Ident>, &Fields)> = match &input.data {
        Data::Struct(data) => vec![(None, &data.fields)],
        Data::Enum(data) => data.variants.iter().map(|variant| (Some(&variant.ident), &variant.fields)).collect(),
        Data::Union(_) => Vec::new(),
    };
    if let Data::Enum(data) = &input.data
        && data.variants.is_empty()
    {
        faults.at(&input.ident, "an enum without variants has no value that could be an event");
    }
    let mut events: Vec<EventCase<'i>> = Vec::new();
    for ((variant, fields), case) in shapes.into_iter().zip(cases) {
        let options = &case.options;
        let serde_rule = match variant {
            None => container.serde.rename_all.as_ref(),
            Some(_) => options.serde.rename_all.as_ref().or(container.serde.rename_all_fields.as_ref()),
        };
        let rule = self::rule(options.rename_all.as_ref(), faults).or(rule).or_else(|| serde_rule.and_then(known_rule));
        let event = EventCase {
            variant,
            name: variant.map_or_else(|| name.clone(), |variant| variant_name(&name, variant, options, faults)),
            version: self::version(options.version.as_ref(), faults).unwrap_or(version),
            table: self::name(options.table.as_ref(), faults).unwrap_or_else(|| table.clone()),
            key: marked(fields, &case.fields, |field| field.key.as_ref(), faults),
            timestamp: marked(fields, &case.fields, |field| field.timestamp.as_ref(), faults),
            content: content(fields, case.fields, rule, faults),
            fields,
        };
        if let Some(twin) = events.iter().find(|earlier| earlier.name == event.name) {
            let twin = twin.variant.map(Ident::to_string).unwrap_or_default();
            let place =
                options.name.as_ref().map(ToTokens::to_token_stream).or_else(|| Some(variant?.to_token_stream()));
            faults.at(place, format_args!("the variant `{twin}` is stored as `{}` already", event.name));
        }
        events.push(event);
    }
    events
}

/// `enum_name.variant_name`
fn variant_name(prefix: &str, variant: &Ident, options: &Named, faults: &mut Faults) -> String {
    name(options.name.as_ref(), faults).unwrap_or_else(|| match &options.serde.rename {
        Some(renamed) => format!("{prefix}.{}", renamed.value()),
        None => format!("{prefix}.{}", snake_case(&variant.unraw().to_string())),
    })
}

fn content<'i>(fields: &'i Fields, given: Vec<FieldOptions>, rule: Option<Rule>, faults: &mut Faults) -> Content<'i> {
    if let (Fields::Unnamed(_), Some(inner), [only]) = (fields, fields.iter().next(), given.as_slice())
        && wraps(only)
    {
        return Content::Inner(inner);
    }
    let mut payload: Vec<PayloadField<'i>> = Vec::new();
    for (field, options) in fields.iter().zip(given) {
        conflicts(&options, faults);
        let Some(field) = payload_field(field, options, rule, faults) else { continue };
        if !field.flatten && payload.iter().any(|earlier| !earlier.flatten && earlier.name == field.name) {
            faults.at(
                field.field.ident.as_ref().map_or_else(|| field.field.to_token_stream(), ToTokens::to_token_stream),
                format_args!("two fields are stored as `{}`: rename one of them, or skip it", field.name),
            );
        }
        payload.push(field);
    }
    Content::Fields(payload)
}

/// Whether the only field of a tuple stands for the whole event.
fn wraps(only: &FieldOptions) -> bool {
    let FieldOptions { key, timestamp, rename, skip, flatten, with, serde } = only;
    let serde_plain = serde.rename.is_none() && !serde.skip && !serde.flatten && serde.foreign.is_none();
    let own_plain = rename.is_none() && skip.is_none() && flatten.is_none() && with.is_none();
    key.is_none() && timestamp.is_none() && own_plain && serde_plain
}

fn conflicts(options: &FieldOptions, faults: &mut Faults) {
    let FieldOptions { rename, skip, flatten, with, serde, .. } = options;
    if let Some(skip) = skip {
        let others = [(rename.is_some(), "rename"), (flatten.is_some(), "flatten"), (with.is_some(), "with")];
        for (_, other) in others.into_iter().filter(|(given, _)| *given) {
            faults.at(skip, format_args!("a field that is skipped has no use for `{other}`"));
        }
    } else if let (Some(flatten), Some(_)) = (flatten, rename) {
        faults.at(flatten, "a field that is flattened has no name of its own: leave `rename` or `flatten` out");
    }
    if let (Some(foreign), None, None) = (&serde.foreign, skip, with) {
        foreign_option(foreign, "say `#[event_log(with = path)]` or `#[event_log(skip)]` here as well", faults);
    }
}

fn payload_field<'i>(
    field: &'i Field,
    options: FieldOptions,
    rule: Option<Rule>,
    faults: &mut Faults,
) -> Option<PayloadField<'i>> {
    let FieldOptions { rename, skip, flatten, with, serde, .. } = options;
    // Serde's skip is a default: an option of ours that only makes sense for a stored field wins.
    let stored = rename.is_some() || flatten.is_some() || with.is_some();
    if skip.is_some() || (serde.skip && !stored) {
        return None;
    }
    let flatten = flatten.is_some() || (serde.flatten && rename.is_none());
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
    Some(PayloadField { field, name, flatten, with, skip_if: serde.skip_if })
}

/// The one field with the mark.
fn marked<'i>(
    fields: &'i Fields,
    given: &[FieldOptions],
    mark: impl Fn(&FieldOptions) -> Option<&Ident>,
    faults: &mut Faults,
) -> Option<&'i Field> {
    let mut all = fields.iter().zip(given).filter_map(|(field, options)| Some((field, mark(options)?)));
    let (field, _) = all.next()?;
    for (_, again) in all {
        faults.at(again, format_args!("another field is the `{again}` already"));
    }
    Some(field)
}

fn name(given: Option<&LitStr>, faults: &mut Faults) -> Option<String> {
    let text = given?.value();
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains('\0') {
        let limits = format_args!("a name has 1 to {NAME_BYTES_MAX} bytes and holds no U+0000").to_string();
        faults.at(given, limits);
    }
    Some(text)
}

fn version(given: Option<&LitInt>, faults: &mut Faults) -> Option<i32> {
    let version = given?.base10_parse::<i32>().ok().filter(|version| *version >= 1);
    if version.is_none() {
        faults.at(given, "a version is a number from 1 to 2147483647");
    }
    version
}

fn rule(given: Option<&LitStr>, faults: &mut Faults) -> Option<Rule> {
    let rule = known_rule(given?);
    if let (None, Some(given)) = (rule, given) {
        let hint = match did_you_mean(&given.value(), &Rule::NAMES) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("expected {}", one_of(&Rule::NAMES)),
        };
        faults.at(given, format_args!("unknown rule `{}`: {hint}", given.value()));
    }
    rule
}

fn known_rule(given: &LitStr) -> Option<Rule> {
    Rule::parse(&given.value())
}

fn foreign_option(option: &Ident, cure: &str, faults: &mut Faults) {
    let message = format!(
        "serde's `{option}` has no effect on an event, which is written field by field and not by its `Serialize`: {cure}"
    );
    faults.push(syn::Error::new(option.span(), message));
}

/// The span of something that expanded code says about a field: errors show there.
pub(super) fn place(field: &Field) -> Span {
    syn::spanned::Spanned::span(&field.ty)
}
