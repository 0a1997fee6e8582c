package io.kleveross.openscoring;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jpmml.evaluator.Evaluator;
import org.jpmml.evaluator.LoadingModelEvaluatorBuilder;
import org.jpmml.evaluator.OutputFilters;

/** Loads models from files. */
final class Models {

    private static final String SUFFIX = ".pmml";
    /** As a segment of a URL can have it. */
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9_.-]*");

    private Models() {
    }

    /** Loads every {@code NAME.pmml} of a directory; fails where one does not load, or where there is none. */
    static Map<String, ServedModel> load(Path directory) throws ModelException {
        Map<String, ServedModel> models = new TreeMap<>();
        for (Path file : list(directory)) {
            String name = file.getFileName().toString();
            name = name.substring(0, name.length() - SUFFIX.length());
            if (!NAME.matcher(name).matches()) {
                throw new ModelException(file + ": the name is no model's", null);
            }
            models.put(name, new ServedModel(name, evaluator(file)));
        }
        if (models.isEmpty()) {
            throw new ModelException(directory + " holds no file *" + SUFFIX, null);
        }
        return models;
    }

    private static List<Path> list(Path directory) throws ModelException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.filter(file -> file.getFileName().toString().endsWith(SUFFIX)).sorted().toList();
        } catch (IOException error) {
            throw new ModelException("the directory " + directory + " cannot be read: " + error.getMessage(), error);
        }
    }

    /** JPMML's parser refuses documents with a DTD, and so every entity. */
    private static Evaluator evaluator(Path file) throws ModelException {
        try {
            Evaluator evaluator = new LoadingModelEvaluatorBuilder()
                    // A signature has intermediate outputs too.
                    .setOutputFilter(OutputFilters.KEEP_ALL)
                    .load(file.toFile())
                    .build();
            // The samples that some models bring with their results.
            return evaluator.verify();
        } catch (Exception | StackOverflowError | LinkageError error) {
            throw new ModelException(file + ": " + reason(error), error);
        }
    }

    /** Returns what is the matter in one line: wrappers say nothing, the last that says something does. */
    static String reason(Throwable error) {
        String said = error.getClass().getSimpleName();
        for (Throwable each = error; each != null; each = each.getCause()) {
            String message = each.getMessage();
            if (message != null && !message.isBlank()) {
                said = each.getClass().getSimpleName() + ": " + message.strip().replaceAll("\\s+", " ");
            }
        }
        return said.length() > 500 ? said.substring(0, 500) + "..." : said;
    }
}
