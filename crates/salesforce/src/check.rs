//! What is wrong with an integration, field by field, before anything is called.

use domain::{
    net::is_loopback,
    settings::{Integration, Invalid, OrgId},
};
use secrecy::ExposeSecret as _;
use url::{Host, Url};

use crate::identity::{self, belongs, private_key};

/// The fields as an admin types them. Empty: not filled in.
#[derive(Clone, Copy, Default)]
pub struct Fields<'a> {
    pub instance_url: &'a str,
    pub es_developer_name: &'a str,
    pub org_id: &'a str,
    pub auth_key_id: &'a str,
    pub jwt_private_key: &'a str,
    pub jwt_public_key: &'a str,
    pub issuer: &'a str,
    /// May be empty: derived from the instance's address.
    pub messaging_url: &'a str,
}

/// The private key never shows.
impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields").field("es_developer_name", &self.es_developer_name).finish_non_exhaustive()
    }
}

/// Everything that is wrong, each with its field's name. Nothing of a key is quoted.
pub fn check(integration: &Integration) -> Vec<Invalid> {
    check_fields(&Fields {
        instance_url: integration.instance_url.as_str(),
        es_developer_name: &integration.es_developer_name,
        org_id: integration.org_id.as_str(),
        auth_key_id: &integration.auth_key_id,
        jwt_private_key: integration.jwt_private_key.expose_secret(),
        jwt_public_key: &integration.jwt_public_key,
        issuer: &integration.issuer,
        messaging_url: integration.messaging_url.as_ref().map_or("", Url::as_str),
    })
}

/// The same for what is not an integration yet.
pub fn check_fields(fields: &Fields<'_>) -> Vec<Invalid> {
    let mut found = Vec::new();
    let mut say = |field: &str, problem: &str| {
        found.push(Invalid { field: field.to_owned(), problem: problem.to_owned() });
    };
    let instance = match host_only(fields.instance_url, false) {
        Ok(url) => Some(url),
        Err(problem) => {
            say("instance_url", problem);
            None
        }
    };
    if fields.messaging_url.trim().is_empty() {
        let derived = |url: &Url| url.host_str().is_some_and(|host| host.ends_with(".my.salesforce.com"));
        if instance.is_some_and(|url| !derived(&url)) {
            say(
                "messaging_url",
                "is needed: instance_url does not end in .my.salesforce.com, so it cannot be derived",
            );
        }
    } else if let Err(problem) = host_only(fields.messaging_url, true) {
        say("messaging_url", problem);
    }
    let name = fields.es_developer_name;
    if name.is_empty() {
        say("es_developer_name", "is empty: it is the API name of the deployment of type Custom Client");
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        say("es_developer_name", "begins with a letter: take the deployment's API name, not its label");
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        say(
            "es_developer_name",
            "has letters, digits and underscores only: take the deployment's API name, not its label",
        );
    }
    if let Err(problem) = OrgId::try_from(fields.org_id.to_owned()) {
        say("org_id", &problem);
    }
    if fields.auth_key_id.trim().is_empty() {
        say("auth_key_id", "is empty: it is the kid of the key registered in Salesforce");
    }
    if fields.issuer.trim().is_empty() {
        say("issuer", "is empty: it is the issuer of the keyset in Salesforce");
    }
    keys(fields, &mut say);
    found
}

fn keys(fields: &Fields<'_>, say: &mut impl FnMut(&str, &str)) {
    let (private, public) = ("jwt_private_key", "jwt_public_key");
    // Its texts begin with the field's name, which stands beside them here.
    let mut tell = |field: &str, error: identity::Error| {
        let text = error.to_string();
        say(field, text.strip_prefix(field).map_or(text.as_str(), str::trim_start));
    };
    let key = private_key(fields.jwt_private_key);
    let pem = fields.jwt_public_key;
    if let Err(error) = &key {
        tell(private, *error);
    }
    let key = key.ok();
    if pem.trim().is_empty() {
        say(public, "is empty: it is the public half, or the certificate, of jwt_private_key");
    } else if pem.contains("-----BEGIN ") && !pem.contains("-----END ") {
        say(public, "is cut off: its -----END line is missing");
    } else {
        use aws_lc_rs::signature::KeyPair as _;
        // Without a private key there is still to be seen whether it is one at all.
        let half = key.as_ref().map_or(&[][..], |key| key.public_key().as_ref());
        if let Err(error) = belongs(pem, half) {
            tell(public, error);
        }
    }
}

fn host_only(text: &str, loopback_too: bool) -> Result<Url, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty");
    }
    let url: Url =
        text.parse().map_err(|_| "is not an address: it looks like https://name.my.salesforce.com")?;
    let loopback = is_loopback(&url);
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback && loopback_too) {
        return Err("must start with https://");
    }
    let alone = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !alone {
        return Err("must be a host only: nothing behind or before its name");
    }
    if !loopback
        && (url.port().is_some() || !matches!(url.host(), Some(Host::Domain(name)) if name.contains('.')))
    {
        return Err("must be a host name, without a port");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::keys::{KeyPair, generate_key_pair};

    static KEY: LazyLock<KeyPair> = LazyLock::new(|| generate_key_pair(2048).unwrap());

    fn fields() -> Fields<'static> {
        Fields {
            instance_url: "https://acme.my.salesforce.com",
            es_developer_name: "Phone_Bridge",
            org_id: "00DRT0000004QhWAAU",
            auth_key_id: "key-1",
            jwt_private_key: KEY.private_pem.expose_secret(),
            jwt_public_key: &KEY.public_pem,
            issuer: "baton",
            messaging_url: "",
        }
    }

    fn problems(fields: &Fields<'_>) -> String {
        check_fields(fields).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_sound_integration_has_nothing_wrong() {
        assert_eq!(check_fields(&fields()), []);
        let text = |key: &str| key.to_owned();
        let settings = serde_json::json!({
            "id": "main", "instance_url": fields().instance_url, "es_developer_name": "Phone_Bridge",
            "org_id": "00DRT0000004QhW", "auth_key_id": "k", "issuer": "baton",
            "jwt_private_key": text(fields().jwt_private_key), "jwt_public_key": text(fields().jwt_public_key),
        });
        let mut integration: Integration = serde_json::from_value(settings).unwrap();
        assert_eq!(check(&integration), []);
        integration.auth_key_id.clear();
        assert_eq!(check(&integration).len(), 1);
    }

    #[test]
    fn every_field_has_its_own_words() {
        for (fields, wanted) in [
            (Fields { instance_url: "", ..fields() }, "instance_url: is empty"),
            (
                Fields { instance_url: "http://acme.my.salesforce.com", ..fields() },
                "instance_url: must start with https://",
            ),
            (
                Fields { instance_url: "https://acme.my.salesforce.com/lightning", ..fields() },
                "instance_url: must be a host only: nothing behind or before its name",
            ),
            (
                Fields { instance_url: "https://acme.my.salesforce.com:8443", ..fields() },
                "instance_url: must be a host name, without a port",
            ),
            (
                Fields { instance_url: "https://support.example.com", ..fields() },
                "messaging_url: is needed: instance_url does not end in .my.salesforce.com, so it cannot be derived",
            ),
            (
                Fields { messaging_url: "http://acme.my.salesforce-scrt.com", ..fields() },
                "messaging_url: must start with https://",
            ),
            (
                Fields { es_developer_name: "1st", ..fields() },
                "es_developer_name: begins with a letter: take the deployment's API name, not its label",
            ),
            (
                Fields { es_developer_name: "Phone Bridge", ..fields() },
                "es_developer_name: has letters, digits and underscores only: take the deployment's API name, not its label",
            ),
            (
                Fields { org_id: "00DRT0000004Qh", ..fields() },
                "org_id: an organization id starts with 00D and has 15 or 18 letters and digits (Setup > Company Information)",
            ),
            (
                Fields { auth_key_id: " ", ..fields() },
                "auth_key_id: is empty: it is the kid of the key registered in Salesforce",
            ),
            (
                Fields { jwt_public_key: "", ..fields() },
                "jwt_public_key: is empty: it is the public half, or the certificate, of jwt_private_key",
            ),
            (
                Fields { jwt_public_key: "-----BEGIN PUBLIC KEY-----\nMIIB", ..fields() },
                "jwt_public_key: is cut off: its -----END line is missing",
            ),
            (
                Fields { jwt_private_key: &KEY.private_pem.expose_secret()[..800], ..fields() },
                "jwt_private_key: is cut off: its -----END line is missing",
            ),
            (
                Fields { jwt_private_key: &KEY.public_pem, ..fields() },
                "jwt_private_key: is a public key or a certificate: the private half is needed",
            ),
            (
                Fields { jwt_public_key: &generate_key_pair(2048).unwrap().public_pem, ..fields() },
                "jwt_public_key: does not belong to jwt_private_key",
            ),
        ] {
            assert_eq!(problems(&fields), wanted);
        }
        assert_eq!(problems(&Fields { messaging_url: "http://127.0.0.1:4000", ..fields() }), "");
        assert_eq!(check_fields(&Fields::default()).len(), 7);
    }
}
