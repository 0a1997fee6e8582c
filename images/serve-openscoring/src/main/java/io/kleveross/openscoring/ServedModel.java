package io.kleveross.openscoring;

import com.google.common.collect.BoundType;
import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jpmml.evaluator.Evaluator;
import org.jpmml.evaluator.EvaluatorUtil;
import org.jpmml.evaluator.HasGroupFields;
import org.jpmml.evaluator.InputField;
import org.jpmml.evaluator.ModelField;
import org.jpmml.evaluator.TargetField;

/** A model as OpenScoring's interface shows it. */
final class ServedModel {

    /** OpenScoring's name of a prediction whose field the document does not name. */
    private static final String UNNAMED = "_default";

    private final String id;
    private final Evaluator evaluator;

    ServedModel(String id, Evaluator evaluator) {
        this.id = id;
        this.evaluator = evaluator;
    }

    /** Returns the id and the kind of model. */
    Map<String, Object> summary() {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("id", id);
        told.put("miningFunction", evaluator.getMiningFunction().value());
        told.put("summary", evaluator.getSummary());
        return told;
    }

    /** Returns the summary with the fields that go in and come out. */
    Map<String, Object> schema() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("inputFields", fields(evaluator.getInputFields()));
        if (evaluator instanceof HasGroupFields grouped) {
            fields.put("groupFields", fields(grouped.getGroupFields()));
        }
        fields.put("targetFields", fields(evaluator.getTargetFields()));
        fields.put("outputFields", fields(evaluator.getOutputFields()));
        Map<String, Object> told = summary();
        told.put("schema", fields);
        return told;
    }

    /** Returns the results for values by field; a field that is not given is a missing value, as PMML means it. */
    Map<String, Object> evaluate(Map<String, ?> given) {
        Map<String, Object> arguments = new LinkedHashMap<>();
        for (InputField field : evaluator.getInputFields()) {
            arguments.put(field.getName(), field.prepare(given.get(field.getName())));
        }
        Map<String, Object> results = new LinkedHashMap<>();
        EvaluatorUtil.decodeAll(evaluator.evaluate(arguments)).forEach((name, value) -> results.put(named(name), value));
        return results;
    }

    private static List<Map<String, Object>> fields(List<? extends ModelField> fields) {
        List<Map<String, Object>> told = new ArrayList<>();
        for (ModelField field : fields) {
            Map<String, Object> each = new LinkedHashMap<>();
            each.put("id", named(field.getName()));
            if (field.getDisplayName() != null) {
                each.put("name", field.getDisplayName());
            }
            if (field.getDataType() != null) {
                each.put("dataType", field.getDataType().value());
            }
            if (field.getOpType() != null) {
                each.put("opType", field.getOpType().value());
            }
            List<String> values = values(field);
            if (!values.isEmpty()) {
                each.put("values", values);
            }
            told.add(each);
        }
        return told;
    }

    private static List<String> values(ModelField field) {
        List<String> values = new ArrayList<>();
        if (field instanceof InputField input) {
            RangeSet<Double> domain = input.getContinuousDomain();
            if (domain != null) {
                domain.asRanges().forEach(range -> values.add(interval(range)));
            }
            add(input.getDiscreteDomain(), values);
        } else if (field instanceof TargetField target) {
            add(target.getCategories(), values);
        }
        return values;
    }

    private static void add(List<?> domain, List<String> values) {
        if (domain != null) {
            domain.forEach(value -> values.add(String.valueOf(value)));
        }
    }

    private static String interval(Range<Double> range) {
        String left = range.hasLowerBound() ? range.lowerEndpoint().toString() : "-\u221e";
        String right = range.hasUpperBound() ? range.upperEndpoint().toString() : "\u221e";
        boolean closedLeft = range.hasLowerBound() && range.lowerBoundType() == BoundType.CLOSED;
        boolean closedRight = range.hasUpperBound() && range.upperBoundType() == BoundType.CLOSED;
        return (closedLeft ? "[" : "(") + left + ", " + right + (closedRight ? "]" : ")");
    }

    private static String named(String name) {
        return name == null ? UNNAMED : name;
    }
}
