//! Settings of authentication, encryption and authorization.
//!
//! What a newcomer would get wrong: none of them does anything yet but `security.inter.broker.protocol`.

use super::setting::{DOUBLE, I32, I64, INT, Kind, LIST, LONG, Setting, int, long, settings};

/// The settings, by name.
pub(super) const SETTINGS: &[Setting] = settings! {
    "authorizer.class.name", Kind::Text, Some(""), Restart, Later,
        "Java class that decides who may do what. Empty: everybody may do everything.";
    "connection.failed.authentication.delay.ms", int(0, I32), Some("100"), Restart, Later,
        "Time a connection that failed to authenticate is held before it is closed.";
    "connections.max.reauth.ms", LONG, Some("0"), Restart, Later,
        "Longest time a SASL session lasts before the client must authenticate again; 0 is for ever.";
    "delegation.token.expiry.check.interval.ms", long(1, I64), Some("3600000"), Restart, Later,
        "How often expired delegation tokens are removed.";
    "delegation.token.expiry.time.ms", long(1, I64), Some("86400000"), Restart, Later,
        "Time after which a delegation token must be renewed.";
    "delegation.token.max.lifetime.ms", long(1, I64), Some("604800000"), Restart, Later,
        "Time after which a delegation token ends, renewed or not.";
    "delegation.token.secret.key", Kind::Password, None, Restart, Later,
        "Secret that delegation tokens are derived from; the same on all nodes.";
    "early.start.listeners", LIST, None, Restart, Later,
        "Listeners that accept connections before the authorizer is ready.";
    "principal.builder.class",
        Kind::Class, Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), PerBroker, Later,
        "Java class that makes a principal from a connection.";
    "sasl.client.callback.handler.class", Kind::Class, None, Restart, Later,
        "Java class of client side SASL callbacks.";
    "sasl.enabled.mechanisms", LIST, Some("GSSAPI"), PerBroker, Later,
        "SASL mechanisms that are offered.";
    "sasl.jaas.config", Kind::Password, None, PerBroker, Later,
        "JAAS login of a listener.";
    "sasl.kerberos.kinit.cmd", Kind::Text, Some("/usr/bin/kinit"), PerBroker, Later,
        "Path of the command kinit.";
    "sasl.kerberos.min.time.before.relogin", LONG, Some("60000"), PerBroker, Later,
        "Shortest time between two Kerberos logins.";
    "sasl.kerberos.principal.to.local.rules", LIST, Some("DEFAULT"), PerBroker, Later,
        "Rules that map Kerberos principals to short names.";
    "sasl.kerberos.service.name", Kind::Text, None, PerBroker, Later,
        "Kerberos service name of the brokers.";
    "sasl.kerberos.ticket.renew.jitter", DOUBLE, Some("0.05"), PerBroker, Later,
        "Random part of the time of renewal of a Kerberos ticket.";
    "sasl.kerberos.ticket.renew.window.factor", DOUBLE, Some("0.8"), PerBroker, Later,
        "Part of a Kerberos ticket's life after which it is renewed.";
    "sasl.login.callback.handler.class", Kind::Class, None, Restart, Later,
        "Java class of SASL login callbacks.";
    "sasl.login.class", Kind::Class, None, Restart, Later,
        "Java class of SASL logins.";
    "sasl.login.connect.timeout.ms", INT, None, Restart, Later,
        "Time to connect to an authentication provider.";
    "sasl.login.read.timeout.ms", INT, None, Restart, Later,
        "Time to read from an authentication provider.";
    "sasl.login.refresh.buffer.seconds", Kind::Short { min: -32768, max: 32767 }, Some("300"), PerBroker, Later,
        "Time before its end at which a credential is refreshed at the latest.";
    "sasl.login.refresh.min.period.seconds", Kind::Short { min: -32768, max: 32767 }, Some("60"), PerBroker, Later,
        "Shortest time between two refreshes of a credential.";
    "sasl.login.refresh.window.factor", DOUBLE, Some("0.8"), PerBroker, Later,
        "Part of a credential's life after which it is refreshed.";
    "sasl.login.refresh.window.jitter", DOUBLE, Some("0.05"), PerBroker, Later,
        "Random part of the time of refresh of a credential.";
    "sasl.login.retry.backoff.max.ms", LONG, Some("10000"), Restart, Later,
        "Longest pause between login attempts.";
    "sasl.login.retry.backoff.ms", LONG, Some("100"), Restart, Later,
        "First pause between login attempts.";
    "sasl.mechanism.controller.protocol", Kind::Text, Some("GSSAPI"), Restart, Later,
        "SASL mechanism towards controllers.";
    "sasl.mechanism.inter.broker.protocol", Kind::Text, Some("GSSAPI"), PerBroker, Later,
        "SASL mechanism between brokers.";
    "sasl.oauthbearer.allow.unverified.audience", Kind::Boolean, Some("false"), Restart, Later,
        "Whether tokens are accepted without a check of their audience.";
    "sasl.oauthbearer.allow.unverified.issuer", Kind::Boolean, Some("false"), Restart, Later,
        "Whether tokens are accepted without a check of their issuer.";
    "sasl.oauthbearer.assertion.algorithm", Kind::ChoiceAnyCase(&["ES256", "RS256"]), Some("RS256"), Restart, Later,
        "Algorithm that assertions are signed with.";
    "sasl.oauthbearer.assertion.claim.aud", Kind::Text, None, Restart, Later,
        "Audience of the assertion.";
    "sasl.oauthbearer.assertion.claim.exp.seconds", int(0, 86400), Some("300"), Restart, Later,
        "Life of the assertion.";
    "sasl.oauthbearer.assertion.claim.iss", Kind::Text, None, Restart, Later,
        "Issuer of the assertion.";
    "sasl.oauthbearer.assertion.claim.jti.include", Kind::Boolean, Some("false"), Restart, Later,
        "Whether the assertion carries an id of its own.";
    "sasl.oauthbearer.assertion.claim.nbf.seconds", int(0, 3600), Some("60"), Restart, Later,
        "How far in the past the assertion begins to be valid.";
    "sasl.oauthbearer.assertion.claim.sub", Kind::Text, None, Restart, Later,
        "Subject of the assertion.";
    "sasl.oauthbearer.assertion.file", Kind::Text, None, Restart, Later,
        "File with a ready assertion.";
    "sasl.oauthbearer.assertion.private.key.file", Kind::Text, None, Restart, Later,
        "File with the key that assertions are signed with.";
    "sasl.oauthbearer.assertion.private.key.passphrase", Kind::Password, None, Restart, Later,
        "Pass phrase of that key.";
    "sasl.oauthbearer.assertion.template.file", Kind::Text, None, Restart, Later,
        "File with further headers and claims of assertions.";
    "sasl.oauthbearer.client.credentials.client.id", Kind::Text, None, Restart, Later,
        "Client id for the client credentials grant.";
    "sasl.oauthbearer.client.credentials.client.secret", Kind::Password, None, Restart, Later,
        "Client secret for the client credentials grant.";
    "sasl.oauthbearer.clock.skew.seconds", INT, Some("30"), Restart, Later,
        "Difference of clocks that is tolerated in tokens.";
    "sasl.oauthbearer.expected.audience", LIST, Some(""), Restart, Later,
        "Audiences of which a token must name one.";
    "sasl.oauthbearer.expected.issuer", Kind::Text, None, Restart, Later,
        "Issuer that a token must name.";
    "sasl.oauthbearer.jwks.endpoint.refresh.ms", LONG, Some("3600000"), Restart, Later,
        "How often the issuer's keys are fetched.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", LONG, Some("10000"), Restart, Later,
        "Longest pause between attempts to fetch the issuer's keys.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", LONG, Some("100"), Restart, Later,
        "First pause between attempts to fetch the issuer's keys.";
    "sasl.oauthbearer.jwks.endpoint.url", Kind::Text, None, Restart, Later,
        "Address of the issuer's keys.";
    "sasl.oauthbearer.jwt.retriever.class",
        Kind::Class, Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"), Restart, Later,
        "Java class that fetches tokens.";
    "sasl.oauthbearer.jwt.validator.class",
        Kind::Class, Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"), Restart, Later,
        "Java class that checks tokens.";
    "sasl.oauthbearer.scope", Kind::Text, None, Restart, Later,
        "Scope asked for in the token request.";
    "sasl.oauthbearer.scope.claim.name", Kind::Text, Some("scope"), Restart, Later,
        "Name of the claim that holds the scope.";
    "sasl.oauthbearer.sub.claim.name", Kind::Text, Some("sub"), Restart, Later,
        "Name of the claim that holds the subject.";
    "sasl.oauthbearer.token.endpoint.url", Kind::Text, None, Restart, Later,
        "Address that tokens are fetched from.";
    "sasl.server.callback.handler.class", Kind::Class, None, Restart, Later,
        "Java class of server side SASL callbacks.";
    "sasl.server.max.receive.size", INT, Some("524288"), Restart, Later,
        "Largest SASL message accepted before authentication.";
    "security.inter.broker.protocol",
        Kind::Choice(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Some("PLAINTEXT"), Restart, Acted,
        "Security protocol between brokers, when `inter.broker.listener.name` is not set.";
    "security.providers", Kind::Text, None, Restart, Later,
        "Java security providers to install.";
    "ssl.allow.dn.changes", Kind::Boolean, Some("false"), Restart, Later,
        "Whether a new key store may name another subject.";
    "ssl.allow.san.changes", Kind::Boolean, Some("false"), Restart, Later,
        "Whether a new key store may name other alternative names.";
    "ssl.cipher.suites", LIST, Some(""), PerBroker, Later,
        "Cipher suites that are offered; empty: all.";
    "ssl.client.auth", Kind::Choice(&["required", "requested", "none"]), Some("none"), PerBroker, Later,
        "Whether clients must show a certificate.";
    "ssl.enabled.protocols", LIST, Some("TLSv1.2,TLSv1.3"), PerBroker, Later,
        "TLS versions that are offered.";
    "ssl.endpoint.identification.algorithm", Kind::Text, Some("https"), PerBroker, Later,
        "How a server's name is checked against its certificate.";
    "ssl.engine.factory.class", Kind::Class, None, PerBroker, Later,
        "Java class that makes TLS engines.";
    "ssl.key.password", Kind::Password, None, PerBroker, Later,
        "Password of the private key.";
    "ssl.keymanager.algorithm", Kind::Text, Some("SunX509"), PerBroker, Later,
        "Algorithm of the key manager.";
    "ssl.keystore.certificate.chain", Kind::Password, None, PerBroker, Later,
        "Certificate chain as PEM text.";
    "ssl.keystore.key", Kind::Password, None, PerBroker, Later,
        "Private key as PEM text.";
    "ssl.keystore.location", Kind::Text, None, PerBroker, Later,
        "File that holds key and certificate.";
    "ssl.keystore.password", Kind::Password, None, PerBroker, Later,
        "Password of that file.";
    "ssl.keystore.type", Kind::Text, Some("JKS"), PerBroker, Later,
        "Format of that file.";
    "ssl.principal.mapping.rules", Kind::Text, Some("DEFAULT"), Restart, Later,
        "Rules that map certificate subjects to short names.";
    "ssl.protocol", Kind::Text, Some("TLSv1.3"), PerBroker, Later,
        "TLS version that is preferred.";
    "ssl.provider", Kind::Text, None, PerBroker, Later,
        "Java security provider for TLS.";
    "ssl.secure.random.implementation", Kind::Text, None, PerBroker, Later,
        "Source of random numbers for TLS.";
    "ssl.trustmanager.algorithm", Kind::Text, Some("PKIX"), PerBroker, Later,
        "Algorithm of the trust manager.";
    "ssl.truststore.certificates", Kind::Password, None, PerBroker, Later,
        "Trusted certificates as PEM text.";
    "ssl.truststore.location", Kind::Text, None, PerBroker, Later,
        "File that holds the trusted certificates.";
    "ssl.truststore.password", Kind::Password, None, PerBroker, Later,
        "Password of that file.";
    "ssl.truststore.type", Kind::Text, Some("JKS"), PerBroker, Later,
        "Format of that file.";
};
