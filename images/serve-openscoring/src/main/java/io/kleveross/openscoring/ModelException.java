package io.kleveross.openscoring;

/** A model, or the directory of models, that cannot be served; the message is one sentence. */
final class ModelException extends Exception {

    private static final long serialVersionUID = 1L;

    ModelException(String message, Throwable cause) {
        super(message, cause);
    }
}
