//! What `#[serde(..)]` says, as defaults: it is there for the same reasons, and `#[event_log(..)]` wins.
//!
//! An event is written field by field and not through its own `Serialize`, so serde's attributes do nothing unless they
//! are read here. Those that would change what is stored, and are not read, are faults.

use proc_macro2::{Ident, TokenTree};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, LitStr, Path, Token};

/// Serde's options on a container, a variant or a field.
#[derive(Default)]
pub(super) struct Serde {
    pub(super) rename: Option<LitStr>,
    pub(super) rename_all: Option<LitStr>,
    pub(super) rename_all_fields: Option<LitStr>,
    pub(super) skip: bool,
    pub(super) skip_if: Option<Path>,
    pub(super) flatten: bool,
    /// An option that changes the value and is not read.
    pub(super) foreign: Option<Ident>,
}

/// Reads them. Mistakes are left to serde's own derive.
pub(super) fn read(attrs: &[Attribute]) -> Serde {
    let mut serde = Serde::default();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        let _ = attr.parse_nested_meta(|meta| option(&mut serde, &meta));
    }
    serde
}

fn option(serde: &mut Serde, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    let name = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
    match name.as_str() {
        "rename" => serde.rename = serialized(meta)?,
        "rename_all" => serde.rename_all = serialized(meta)?,
        "rename_all_fields" => serde.rename_all_fields = serialized(meta)?,
        "skip" | "skip_serializing" => serde.skip = true,
        "skip_serializing_if" => serde.skip_if = Some(meta.value()?.parse::<LitStr>()?.parse()?),
        "flatten" => serde.flatten = true,
        "with" | "serialize_with" | "into" => {
            serde.foreign = meta.path.get_ident().cloned();
            ignore(meta)?;
        }
        _ => ignore(meta)?,
    }
    Ok(())
}

/// `rename = "x"` or `rename(serialize = "x", deserialize = "y")`
fn serialized(meta: &ParseNestedMeta<'_>) -> syn::Result<Option<LitStr>> {
    if meta.input.peek(Token![=]) {
        return meta.value()?.parse().map(Some);
    }
    let mut name = None;
    meta.parse_nested_meta(|inner| {
        let value = inner.value()?.parse()?;
        if inner.path.is_ident("serialize") {
            name = Some(value);
        }
        Ok(())
    })?;
    Ok(name)
}

fn ignore(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    while !meta.input.is_empty() && !meta.input.peek(Token![,]) {
        meta.input.parse::<TokenTree>()?;
    }
    Ok(())
}
