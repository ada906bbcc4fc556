"""Narrows what schemathesis makes up: models that there are, and answers of a few tokens. Otherwise all of it ends with 404, or takes long."""
import schemathesis

few = {'max_tokens': 4, 'max_completion_tokens': 4, 'max_output_tokens': 4, 'n': 2, 'min_tokens': 4}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for path, operations in raw_schema['paths'].items():
        schema = operations.get('post', {}).get('requestBody', {}).get('content', {}).get('application/json', {}).get('schema', {})
        properties = schema.get('properties', {})
        if 'model' in properties:
            properties['model'] = {'enum': ['embedder' if 'embeddings' in path else 'llama', *([] if path.startswith('/v1/') else [None])]}
        for name, most in few.items():
            if name in properties:
                properties[name] = {'anyOf': [{'type': 'integer', 'minimum': 1, 'maximum': most}, {'type': 'null'}]}
        # What has no limit of its own goes on until the window is full.
        limit = [name for name in ('max_tokens', 'max_output_tokens') if name in properties]
        if limit:
            schema['required'] = [*schema.get('required', []), limit[0]]
