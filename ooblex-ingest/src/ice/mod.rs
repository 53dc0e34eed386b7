//! STUN and TURN servers: where their addresses and credentials come from, and TURN over TCP and TLS.
