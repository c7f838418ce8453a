//! What a registry wants to know of its user: the challenge in its refusal, and the answer to it.
//!
//! Always: a password goes to the registry that it is for, or to the server of tokens that this names,
//! and never over plain HTTP unless the user insists on that; it is in no command line.
//!
//! Source: the token authentication of the distribution project, RFC 7617 and 6750, docker's config.json.

use std::time::Duration;

use anyhow::Result;
use data_encoding::BASE64;
use serde::Deserialize;

use super::curl::{Answer, Fault, Request};
use super::password::Password;
use super::{Target, WebArgs};

/// The longest answer of a server of tokens in bytes.
const TOKEN_BYTES_MAX: u32 = 1 << 16;
/// How long a token lasts that does not say so, in seconds.
const TOKEN_S: u64 = 60;

/// A setting of curl's that is secret.
type Secret = (&'static str, String);

/// The answer to a registry that wants to know who asks.
#[derive(Clone, Debug)]
pub struct Login {
    challenge: Challenge,
    password: Option<Password>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Login {
    /// Returns the answer to the refusal of `registry`: to its challenge, with the password that is kept
    /// for it, if there is one.
    pub fn to(refusal: &Answer, registry: &str) -> Result<Result<Self, Fault>> {
        let challenges = refusal.headers("www-authenticate").filter_map(Challenge::parse);
        let Some(challenge) = challenges.last() else {
            let why = "the registry answers 401, and does not say how it wants to be told who asks";
            return Ok(Err(Fault::Unfit(why.into())));
        };
        let password = match Password::find(registry)? {
            Ok(password) => password,
            Err(fault) => return Ok(Err(fault)),
        };
        if challenge == Challenge::Basic && password.is_none() {
            return Ok(Err(Fault::Unfit(needed(registry))));
        }
        Ok(Ok(Self { challenge, password }))
    }

    /// Returns what a request needs, and for how long it is good. `is_plain` allows plain HTTP.
    pub fn secret(
        &self,
        is_plain: bool,
        args: &WebArgs,
    ) -> Result<Result<(Secret, Option<Duration>), Fault>> {
        let basic = self.password.as_ref().map(|password| {
            let pair = format!("{}:{}", password.user, password.secret);
            ("header", format!("Authorization: Basic {}", BASE64.encode(pair.as_bytes())))
        });
        let (realm, service, scope) = match (&self.challenge, &basic) {
            (Challenge::Basic, Some(basic)) => return Ok(Ok((basic.clone(), None))),
            (Challenge::Basic, None) => unreachable!("it is refused"),
            (Challenge::Bearer { realm, service, scope }, _) => (realm, service, scope),
        };
        let mut more = vec!["--get".to_string()];
        for (name, value) in [("service", service), ("scope", scope)] {
            if let Some(value) = value {
                more.extend(["--data-urlencode".into(), format!("{name}={value}")]);
            }
        }
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let secrets = basic.into_iter().collect();
        let target = Target { url: realm.clone(), secrets, is_plain };
        let max = Some(TOKEN_BYTES_MAX);
        let asked = Request { follows: false, body_bytes_max: max, more: &more };
        Ok(asked.send(&target, args)?.and_then(|answer| {
            if let (401 | 403, Some(password)) = (answer.status, &self.password) {
                return Err(Fault::Unfit(format!(
                    "{realm} answers {}: it refuses the name and password of {}",
                    answer.status, password.place
                )));
            }
            answer.has_status(200).map_err(|fault| match fault {
                Fault::Unfit(why) => Fault::Unfit(format!("{realm}: {why}")),
                fault => fault,
            })?;
            let token: Result<Token, _> = serde_json::from_slice(&answer.body);
            let Ok(Token { token, access_token, expires_in }) = token else {
                return Err(Fault::Unfit(format!("{realm}: its answer is not a token")));
            };
            let token = token.or(access_token);
            let token = token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
            let token =
                token.ok_or_else(|| Fault::Unfit(format!("{realm}: its answer has no token")))?;
            let lasts = Duration::from_secs(expires_in.unwrap_or(TOKEN_S).clamp(1, 86400));
            Ok((("header", format!("Authorization: Bearer {token}")), Some(lasts)))
        }))
    }

    /// Returns what to do where the answer was not enough.
    pub fn advice(&self, registry: &str) -> String {
        match &self.password {
            Some(password) => {
                format!("it refuses the name and password of {}", password.place)
            }
            None => needed(registry),
        }
    }
}

fn needed(registry: &str) -> String {
    format!(
        "the registry wants a name and a password: `docker login {registry}` puts them into \
         ~/.docker/config.json, where they are looked for"
    )
}

impl Challenge {
    /// Reads a challenge; `None` for a kind that nobody here knows.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        let parameters = parameters(rest);
        let value = |name: &str| {
            let mut all = parameters.iter().filter(|(of, _)| of.eq_ignore_ascii_case(name));
            all.next().map(|(_, value)| value.clone())
        };
        let realm = value("realm").filter(|_| kind.eq_ignore_ascii_case("bearer"))?;
        Some(Self::Bearer { realm, service: value("service"), scope: value("scope") })
    }
}

/// Takes `a="b",c=d` apart; commas and escapes in quotes are part of the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let (mut part, mut is_quoted) = (String::new(), false);
    let mut letters = text.chars();
    loop {
        let letter = letters.next();
        match letter {
            Some('"') => is_quoted = !is_quoted,
            Some('\\') if is_quoted => part.extend(letters.next()),
            Some(letter) if is_quoted || letter != ',' => part.push(letter),
            Some(_) | None => {
                let pair = part.split_once('=');
                let trimmed = |text: &str| text.trim().to_string();
                all.extend(pair.map(|(name, value)| (trimmed(name), trimmed(value))));
                part.clear();
            }
        }
        if letter.is_none() {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_tells_who_gives_tokens() {
        let text = "Bearer realm=\"https://a/t\", service=\"r\",scope=\"repository:a/b:pull,push\"";
        let bearer = Challenge::Bearer {
            realm: "https://a/t".into(),
            service: Some("r".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(Challenge::parse(text), Some(bearer));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Digest realm=\"x\""), None);
        assert_eq!(Challenge::parse("Bearer service=x"), None);
    }
}
