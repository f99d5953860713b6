//! Redis: hot state, contacts, tokens, cursors
