//! What a guest is told when a request that it may send goes wrong.
//!
//! Every failure has its error code of wasi:http; a text of the host's never gets to the
//! guest. Used by `outgoing` and its bodies.

use crate::capability::network::{ConnectError, DialError, LookupError};
use rustls::AlertDescription;
use std::error::Error as _;
use std::io;
use wasmtime_wasi_http::Error;

/// For a request that got no response.
pub(super) fn request_fault(error: &hyper_util::client::legacy::Error) -> Error {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(error) = found.downcast_ref::<ConnectError>() {
            return connect_fault(error);
        }
        // The guest's own body failed.
        if let Some(error) = found.downcast_ref::<Error>() {
            return match error {
                Error::HttpRequestBodySize(size) => Error::HttpRequestBodySize(*size),
                _ => Error::HttpProtocolError,
            };
        }
        if let Some(error) = found.downcast_ref::<hyper::Error>()
            && error.source().is_none()
        {
            return exchange_fault(error);
        }
        if found.downcast_ref::<io::Error>().is_some() {
            return Error::ConnectionTerminated;
        }
        cause = found.source();
    }
    Error::HttpProtocolError
}

/// For a response that ended early.
pub(super) fn body_fault(error: &hyper::Error) -> Error {
    match exchange_fault(error) {
        Error::ConnectionTerminated => Error::HttpResponseIncomplete,
        fault => fault,
    }
}

fn exchange_fault(error: &hyper::Error) -> Error {
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_timeout() {
        Error::ConnectionReadTimeout
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Error::ConnectionTerminated
    } else {
        Error::HttpProtocolError
    }
}

fn connect_fault(error: &ConnectError) -> Error {
    match error {
        ConnectError::Dial(error) => dial_fault(error),
        ConnectError::Timeout => Error::ConnectionTimeout,
        ConnectError::Tls(error) => tls_fault(error),
    }
}

/// For a destination that could not be connected to.
pub(super) fn dial_fault(error: &DialError) -> Error {
    let dns = |rcode: &str| Error::DnsError {
        rcode: Some(rcode.to_owned()),
        info_code: None,
    };
    match error {
        DialError::Denied => Error::HttpRequestDenied,
        DialError::Prohibited => Error::DestinationIpProhibited,
        DialError::Lookup(LookupError::NotFound | LookupError::NoService) => dns("NXDOMAIN"),
        DialError::Lookup(LookupError::Failed) => dns("SERVFAIL"),
        DialError::Lookup(LookupError::Timeout) => Error::DnsTimeout,
        DialError::Lookup(LookupError::TooMany) | DialError::TooMany => {
            Error::ConnectionLimitReached
        }
        DialError::Timeout => Error::ConnectionTimeout,
        DialError::Failed(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Error::DestinationUnavailable
            }
            io::ErrorKind::TimedOut => Error::ConnectionTimeout,
            _ => Error::ConnectionTerminated,
        },
    }
}

fn tls_fault(error: &io::Error) -> Error {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(
            rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::UnsupportedNameType,
        ) => Error::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: alert_name(*alert),
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

/// Names of alerts that are known; what a server invents is a number only.
fn alert_name(alert: AlertDescription) -> Option<String> {
    alert.as_str().map(str::to_owned)
}
