//! Texts with placeholders, such as `poc-routing-server-{index}:8081`, compiled when they are configured.

/// What a placeholder is replaced with. The strategy decides which one exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// `{hostport}`: the resolver's answer.
    HostPort,
    /// `{index}`: the number of the host.
    Index,
    /// `{host}`: the name of the host, from a list of `hosts`.
    Host,
}

impl Placeholder {
    /// The name between the braces.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostPort => "hostport",
            Self::Index => "index",
            Self::Host => "host",
        }
    }
}

/// A compiled template, in which one placeholder occurs any number of times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// The texts around the placeholders: one more than there are placeholders.
    texts: Vec<String>,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A placeholder that this strategy does not have.
    Unknown(String),
    /// A brace without its partner.
    Unbalanced,
}

impl Template {
    /// Reads a template in which only `placeholder` may occur.
    ///
    /// # Errors
    /// [`TemplateError`] for another placeholder or a single brace.
    pub fn parse(text: &str, placeholder: Placeholder) -> Result<Self, TemplateError> {
        let mut texts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or(TemplateError::Unbalanced)?;
            if before.contains('}') || name.contains('{') {
                return Err(TemplateError::Unbalanced);
            }
            if name != placeholder.name() {
                return Err(TemplateError::Unknown(name.to_owned()));
            }
            texts.push(before.to_owned());
            rest = after;
        }
        if rest.contains('}') {
            return Err(TemplateError::Unbalanced);
        }
        texts.push(rest.to_owned());
        Ok(Self { texts })
    }

    /// The template that consists of its placeholder alone.
    pub fn only_placeholder() -> Self {
        Self { texts: vec![String::new(), String::new()] }
    }

    /// Whether a placeholder occurs.
    pub fn has_placeholder(&self) -> bool {
        self.texts.len() > 1
    }

    /// The text with `value` in place of each placeholder.
    pub fn render(&self, value: &str) -> String {
        self.texts.join(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_wherever_they_are() {
        let render = |text, value| Template::parse(text, Placeholder::Index).expect(text).render(value);
        assert_eq!(render("server-{index}:8081", "3"), "server-3:8081");
        assert_eq!(render("{index}{index}", "7"), "77");
        assert_eq!(render("fixed", "1"), "fixed");
        assert_eq!(render("", "1"), "");
        assert_eq!(Template::only_placeholder(), Template::parse("{index}", Placeholder::Index).unwrap());
    }

    #[test]
    fn other_placeholders_and_single_braces_are_refused() {
        let error = |text| Template::parse(text, Placeholder::HostPort).expect_err(text);
        assert_eq!(error("a-{index}"), TemplateError::Unknown("index".into()));
        assert_eq!(error("{}"), TemplateError::Unknown(String::new()));
        for single in ["{hostport", "hostport}", "{{hostport}}", "}{hostport}{", "{hostport}}"] {
            assert_eq!(error(single), TemplateError::Unbalanced, "{single}");
        }
    }
}
