//! What both attributes accept: `async fn name(ctx: Context, …) -> Result<…>`, with a body or without one.
//!
//! Here it has been found right; what is looked at for that, and said if it is not, is in [`written`](crate::written).

use proc_macro2::{Group, Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::{Attribute, Signature, Type, Visibility};

use crate::written::Written;

/// The words in which the two attributes differ.
pub(crate) struct Words {
    /// The attribute, as a reader knows it.
    pub(crate) attribute: &'static str,
    /// What it makes, with its article.
    pub(crate) noun: &'static str,
    /// The trait that says what it is; other items of `everstep` are named after it.
    pub(crate) subject: &'static str,
    /// The type of the first argument.
    pub(crate) context: &'static str,
    /// The error type returned.
    pub(crate) error: &'static str,
    /// What becomes of other errors.
    pub(crate) errors: &'static str,
    /// The boxed future that its code becomes.
    pub(crate) future: &'static str,
    /// Where it gets what other functions would borrow.
    pub(crate) shared: &'static str,
}

/// A declaration that has been found right.
pub(crate) struct Declaration {
    /// Documentation and deprecation: for the struct and the function alike.
    pub(crate) documentation: Vec<Attribute>,
    /// `#[cfg]`: on every item.
    pub(crate) conditions: Vec<Attribute>,
    /// All other attributes: for the code itself.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// The type of the context as written, so that its import counts as used.
    pub(crate) context: Type,
    /// The arguments after the context.
    pub(crate) inputs: Vec<Input>,
    pub(crate) output: Type,
    /// `None`: the code lives in another binary.
    pub(crate) body: Option<Group>,
}

/// One argument after the context.
pub(crate) struct Input {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

impl Declaration {
    /// Reads `item` and checks it.
    pub(crate) fn parse(item: TokenStream, words: &Words) -> syn::Result<Self> {
        Written::parse(item, words)?.check(words)
    }

    /// The name that the engine knows unless the attribute gives another.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// The input as one type: nothing, the argument itself, or a tuple.
    pub(crate) fn input_type(&self) -> TokenStream {
        let types = self.inputs.iter().map(|input| &input.ty);
        match self.inputs.as_slice() {
            [only] => only.ty.to_token_stream(),
            _ => quote!((#(#types),*)),
        }
    }

    /// The input as one pattern or expression, shaped like [`Self::input_type`].
    pub(crate) fn input_value(&self) -> TokenStream {
        let names = self.input_names();
        match names.as_slice() {
            [only] => only.to_token_stream(),
            _ => quote!((#(#names),*)),
        }
    }

    /// The names under which the expansion handles the arguments.
    pub(crate) fn input_names(&self) -> Vec<&Ident> {
        self.inputs.iter().map(|input| &input.name).collect()
    }

    /// The `async fn` itself, as written.
    pub(crate) fn code(&self) -> Option<TokenStream> {
        let (attributes, signature, body) = (&self.attributes, &self.signature, self.body.as_ref()?);
        Some(quote!(#(#attributes)* #signature #body))
    }
}
