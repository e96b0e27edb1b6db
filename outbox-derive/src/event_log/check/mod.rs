//! Options -> what to write: names, versions, tables and fields, each checked.

mod field;
mod names;
mod table;

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Field, Fields, Path};

pub(super) use self::field::{PayloadField, Value, payload};
use self::names::{known_rule, rule, variant_name};
pub(super) use self::table::{Layout, TableDdl};
use super::parse::{Case, FieldOptions, Given, Named};
use crate::case::{Rule, snake_case};
use crate::faults::Faults;

/// One event type: a struct, or a variant of an enum.
pub(super) struct EventCase<'i> {
    /// The variant, for an enum.
    pub(super) variant: Option<&'i Ident>,
    pub(super) name: String,
    pub(super) version: i32,
    /// The function that reads older versions.
    pub(super) upcast: Option<Path>,
    pub(super) table: String,
    pub(super) layout: Layout,
    pub(super) ddl: TableDdl,
    pub(super) content: Content<'i>,
    pub(super) key: Option<Key<'i>>,
    pub(super) timestamp: Option<&'i Field>,
    pub(super) fields: &'i Fields,
}

pub(super) enum Content<'i> {
    /// Its fields.
    Fields(Vec<PayloadField<'i>>),
    /// The payload, key and time of the event that it wraps.
    Inner(&'i Field),
}

pub(super) struct Key<'i> {
    pub(super) field: &'i Field,
    /// The function that makes what is stored.
    pub(super) with: Option<Path>,
}

/// What the type says, for all its events.
struct Defaults {
    name: String,
    version: i32,
    table: Option<String>,
    layout: Layout,
    ddl: TableDdl,
    rule: Option<Rule>,
}

/// The table that the layout `context` shares.
const SHARED_TABLE: &str = "event_log";

pub(super) fn check<'i>(input: &'i DeriveInput, given: Given, faults: &mut Faults) -> Vec<EventCase<'i>> {
    let Given { container, cases } = given;
    if let Some(foreign) = &container.serde.foreign {
        foreign_option(foreign, "implement `EventLog` by hand", faults);
    }
    let defaults = Defaults {
        name: names::name(container.name.as_ref(), faults)
            .unwrap_or_else(|| snake_case(&input.ident.unraw().to_string())),
        version: names::version(container.version.as_ref(), faults).unwrap_or(1),
        table: names::name(container.table.as_ref(), faults),
        layout: table::layout(container.layout.as_ref(), faults).unwrap_or(Layout::Context),
        ddl: TableDdl::of(container.ddl.as_ref(), &TableDdl::default(), faults),
        rule: rule(container.rename_all.as_ref(), faults),
    };
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
    if let (Data::Enum(_), Some(upcast)) = (&input.data, &container.upcast) {
        faults.at(upcast, "an enum is several events, each with versions of its own: say `upcast` at its variants");
    }
    let mut events: Vec<EventCase<'i>> = Vec::new();
    for ((variant, fields), case) in shapes.into_iter().zip(cases) {
        let place = case.options.name.as_ref().map(ToTokens::to_token_stream);
        let event = event(&defaults, &container, variant, fields, case, faults);
        if let Some(twin) = events.iter().find(|earlier| earlier.name == event.name) {
            let twin = twin.variant.map(Ident::to_string).unwrap_or_default();
            let place = place.or_else(|| Some(variant?.to_token_stream()));
            faults.at(place, format_args!("the variant `{twin}` is stored as `{}` already", event.name));
        }
        events.push(event);
    }
    table::unused_ddl(&container, events.iter().any(|event| event.layout == Layout::Columns), faults);
    events
}

fn event<'i>(
    defaults: &Defaults,
    container: &Named,
    variant: Option<&'i Ident>,
    fields: &'i Fields,
    case: Case,
    faults: &mut Faults,
) -> EventCase<'i> {
    let options = &case.options;
    let serde_rule = match variant {
        None => container.serde.rename_all.as_ref(),
        Some(_) => options.serde.rename_all.as_ref().or(container.serde.rename_all_fields.as_ref()),
    };
    let own_rule = rule(options.rename_all.as_ref(), faults).or(defaults.rule);
    let rule = own_rule.or_else(|| serde_rule.and_then(known_rule));
    let name =
        variant.map_or_else(|| defaults.name.clone(), |variant| variant_name(&defaults.name, variant, options, faults));
    let layout = table::layout(options.layout.as_ref(), faults).unwrap_or(defaults.layout);
    table::unused_ddl(options, layout == Layout::Columns, faults);
    let version = names::version(options.version.as_ref(), faults).unwrap_or(defaults.version);
    // A struct's options are its type's, an enum's are said at each variant.
    let upcast = if variant.is_some() { &options.upcast } else { &container.upcast };
    if let (Some(upcast), ..=1) = (upcast, version) {
        faults.at(upcast, "there is no older version to read: raise `version`, or leave `upcast` out");
    }
    EventCase {
        variant,
        version,
        upcast: upcast.clone(),
        table: names::name(options.table.as_ref(), faults).or_else(|| defaults.table.clone()).unwrap_or_else(|| {
            match layout {
                Layout::Context => SHARED_TABLE.to_owned(),
                // A dot would be a database.
                Layout::Columns => name.replace('.', "_"),
            }
        }),
        layout,
        ddl: TableDdl::of(options.ddl.as_ref(), &defaults.ddl, faults),
        key: marked(fields, &case.fields, |field| field.key.as_ref(), faults)
            .map(|(field, options)| Key { field, with: options.with.clone() }),
        timestamp: marked(fields, &case.fields, |field| field.timestamp.as_ref(), faults).map(|(field, _)| field),
        content: content(fields, case.fields, rule, layout, faults),
        name,
        fields,
    }
}

fn content<'i>(
    fields: &'i Fields,
    given: Vec<FieldOptions>,
    rule: Option<Rule>,
    layout: Layout,
    faults: &mut Faults,
) -> Content<'i> {
    if let (Fields::Unnamed(_), Some(inner), [only]) = (fields, fields.iter().next(), given.as_slice())
        && only.is_plain()
    {
        return Content::Inner(inner);
    }
    Content::Fields(payload(fields.iter().zip(given), rule, layout, faults))
}

/// The one field with the mark.
fn marked<'i, 'o>(
    fields: &'i Fields,
    given: &'o [FieldOptions],
    mark: impl Fn(&FieldOptions) -> Option<&Ident>,
    faults: &mut Faults,
) -> Option<(&'i Field, &'o FieldOptions)> {
    let mut all = fields.iter().zip(given).filter_map(|(field, options)| Some((field, options, mark(options)?)));
    let (field, options, _) = all.next()?;
    for (.., again) in all {
        faults.at(again, format_args!("another field is the `{again}` already"));
    }
    Some((field, options))
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
