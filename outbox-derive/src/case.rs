//! Names: the stored name of a type, and serde's `rename_all` rules for fields.

/// `HTTPRequestSeen` -> `http_request_seen`: a run of capitals is one word, and its last letter begins the next.
pub(crate) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let after = letters.get(at + 1);
        let begins = match before {
            None | Some('_') => false,
            Some(before) if before.is_uppercase() => after.is_some_and(|after| after.is_lowercase()),
            Some(_) => true,
        };
        if letter.is_uppercase() && begins {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// A rule for field names, named as in serde.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Rule {
    pub(crate) const NAMES: [&'static str; 8] = [
        "lowercase",
        "UPPERCASE",
        "PascalCase",
        "camelCase",
        "snake_case",
        "SCREAMING_SNAKE_CASE",
        "kebab-case",
        "SCREAMING-KEBAB-CASE",
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        const RULES: [Rule; 8] = [
            Rule::Lower,
            Rule::Upper,
            Rule::Pascal,
            Rule::Camel,
            Rule::Snake,
            Rule::ScreamingSnake,
            Rule::Kebab,
            Rule::ScreamingKebab,
        ];
        Self::NAMES.iter().position(|known| *known == name).map(|at| RULES[at])
    }

    /// Renames a field, whose name is in `snake_case`.
    pub(crate) fn apply(self, field: &str) -> String {
        match self {
            Self::Lower | Self::Snake => field.to_owned(),
            Self::Upper | Self::ScreamingSnake => field.to_ascii_uppercase(),
            Self::Pascal => field.split('_').map(capitalized).collect(),
            Self::Camel => {
                let pascal = Self::Pascal.apply(field);
                let mut letters = pascal.chars();
                letters.next().map_or(String::new(), |first| first.to_ascii_lowercase().to_string() + letters.as_str())
            }
            Self::Kebab => field.replace('_', "-"),
            Self::ScreamingKebab => field.to_ascii_uppercase().replace('_', "-"),
        }
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_become_snake_case() {
        for (name, snake) in [
            ("UserCreated", "user_created"),
            ("HTTPRequestSeen", "http_request_seen"),
            ("SeenHTTP", "seen_http"),
            ("UserV2Created", "user_v2_created"),
            ("S3Uploaded", "s3_uploaded"),
            ("A", "a"),
            ("Already_Snake", "already_snake"),
            ("ÄrgerGemeldet", "ärger_gemeldet"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }

    #[test]
    fn fields_are_renamed_as_serde_does() {
        let renamed = Rule::NAMES.map(|name| Rule::parse(name).expect("every name is a rule").apply("first_name"));
        assert_eq!(
            renamed,
            [
                "first_name",
                "FIRST_NAME",
                "FirstName",
                "firstName",
                "first_name",
                "FIRST_NAME",
                "first-name",
                "FIRST-NAME"
            ]
        );
        assert_eq!(Rule::parse("Camel"), None);
    }
}
