//! Texts with placeholders, such as `poc-routing-server-{index}:8081`, compiled when they are configured.

/// What a placeholder stands for. Which of them exist depends on the strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `{hostport}`: the resolver's answer, whole.
    HostPort,
    /// `{index}`: the instance's number.
    Index,
    /// `{host}`: the instance's name, where the configuration lists names.
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

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value,
}

/// A compiled template. All its placeholders are of one kind: a strategy offers exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A placeholder that this strategy does not have.
    Unknown(String),
    /// A brace without its partner.
    Unbalanced,
}

impl Template {
    /// Reads a template in which only `placeholder` may stand, any number of times.
    ///
    /// # Errors
    /// [`TemplateError`] for another placeholder or a lone brace.
    pub fn parse(text: &str, placeholder: Placeholder) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or(TemplateError::Unbalanced)?;
            if before.contains('}') || name.contains('{') {
                return Err(TemplateError::Unbalanced);
            }
            if name != placeholder.name() {
                return Err(TemplateError::Unknown(name.to_owned()));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Value);
            rest = after;
        }
        if rest.contains('}') {
            return Err(TemplateError::Unbalanced);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The template that is nothing but its placeholder.
    pub fn only() -> Self {
        Self { parts: vec![Part::Value] }
    }

    /// Whether a placeholder stands in it at all.
    pub fn has_placeholder(&self) -> bool {
        self.parts.contains(&Part::Value)
    }

    /// The text with `value` in each placeholder's stead.
    pub fn render(&self, value: &str) -> String {
        let mut text = String::with_capacity(64);
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(fixed) => fixed,
                Part::Value => value,
            });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_wherever_they_stand() {
        let render = |text, value| Template::parse(text, Placeholder::Index).expect(text).render(value);
        assert_eq!(render("server-{index}:8081", "3"), "server-3:8081");
        assert_eq!(render("{index}{index}", "7"), "77");
        assert_eq!(render("fixed", "1"), "fixed");
        assert_eq!(render("", "1"), "");
    }

    #[test]
    fn other_placeholders_and_lone_braces_are_refused() {
        let error = |text| Template::parse(text, Placeholder::HostPort).expect_err(text);
        assert_eq!(error("a-{index}"), TemplateError::Unknown("index".into()));
        assert_eq!(error("{}"), TemplateError::Unknown(String::new()));
        for lone in ["{hostport", "hostport}", "{{hostport}}", "}{hostport}{", "{hostport}}"] {
            assert_eq!(error(lone), TemplateError::Unbalanced, "{lone}");
        }
    }
}
