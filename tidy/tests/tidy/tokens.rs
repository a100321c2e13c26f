//! Rust as tokens: what stands in comments and strings is not there.

use proc_macro2::{TokenStream, TokenTree};

use crate::repository::TextFile;

/// The tokens of a file.
pub(crate) fn parse(file: &TextFile) -> TokenStream {
    file.text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

/// Calls `see` with every run of tokens between two brackets, and the rest of the run from each of its tokens on.
pub(crate) fn every_place(stream: TokenStream, see: &mut impl FnMut(&[TokenTree])) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        see(&tokens[index..]);
        if let TokenTree::Group(group) = token {
            every_place(group.stream(), see);
        }
    }
}

pub(crate) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

pub(crate) fn is_sign(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// Whether `::` stands at the beginning.
pub(crate) fn is_path(tokens: &[TokenTree]) -> bool {
    is_sign(tokens.first(), ':') && is_sign(tokens.get(1), ':')
}

pub(crate) fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

pub(crate) fn fixture(path: &str, text: &str) -> TextFile {
    TextFile { path: path.to_owned(), text: text.to_owned() }
}
