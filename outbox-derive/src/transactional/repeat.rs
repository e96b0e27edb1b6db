//! What every run of a function with `retries` needs anew: its parameters.

use proc_macro2::{Ident, Span};
use syn::visit_mut::{VisitMut, visit_pat_ident_mut};
use syn::{FnArg, PatIdent, Receiver, ReceiverKind, Signature, Type};

use crate::faults::Faults;

/// A name that each run gets a clone of.
pub(super) struct Clone {
    pub(super) name: Ident,
    pub(super) mutability: Option<syn::token::Mut>,
    /// Where it is said when it cannot be cloned.
    pub(super) place: Span,
}

/// Finds them, and takes their `mut` out of the signature: only the clones can need it.
pub(super) fn clones(signature: &mut Signature, conn: Option<&Ident>, faults: &mut Faults) -> Vec<Clone> {
    let mut names = Names { clones: Vec::new() };
    for argument in &mut signature.inputs {
        match argument {
            FnArg::Receiver(receiver) => self_parameter(receiver, faults),
            FnArg::Typed(typed) => {
                if matches!(&*typed.pat, syn::Pat::Ident(pat) if Some(&pat.ident) == conn) {
                    continue;
                }
                match &*typed.ty {
                    Type::Reference(reference) if reference.mutability.is_some() => faults.at(
                        &typed.ty,
                        "with `retries` the function may run again, and what the first run changed stays changed: return it instead",
                    ),
                    Type::Reference(_) => {}
                    _ => names.visit_pat_mut(&mut typed.pat),
                }
            }
        }
    }
    names.clones
}

fn self_parameter(receiver: &Receiver, faults: &mut Faults) {
    let (shared, exclusive) = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => (mutability.is_none(), mutability.is_some()),
        ReceiverKind::Typed(_, ty) => match &**ty {
            Type::Reference(reference) => (reference.mutability.is_none(), reference.mutability.is_some()),
            _ => (false, false),
        },
        _ => (false, false),
    };
    if shared {
        return;
    }
    let why = if exclusive { "what the first run changed stays changed" } else { "the first run would consume `self`" };
    faults.at(receiver, format_args!("with `retries` the function may run again, and {why}: take `&self`"));
}

struct Names {
    clones: Vec<Clone>,
}

impl VisitMut for Names {
    fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
        // A name without fields could be a constant; those are in capitals.
        let is_constant = pat.subpat.is_none() && pat.ident.to_string().chars().all(|c| c.is_uppercase() || c == '_');
        if !is_constant {
            let mutability = if pat.by_ref.is_none() { pat.mutability.take() } else { None };
            self.clones.push(Clone { name: pat.ident.clone(), mutability, place: pat.ident.span() });
        }
        visit_pat_ident_mut(self, pat);
    }
}
