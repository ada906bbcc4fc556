"""The convolutional net of ours in JAX, for images that GSPMD splits by height and width."""
import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jax.sharding import NamedSharding

FILTER = ('kernelHeight', 'kernelWidth', 'channels', 'features')


def dims_of(name):
    own = {'hidden': ('rows', 'columns', 'channels', 'hidden'), 'hiddenBias': ('hidden',), 'out': ('hidden', 'classes'), 'outBias': ('classes',)}
    return own.get(name) or (FILTER if name.endswith('kernel') else ('features',))


class Images:
    def __init__(self, form, config, mesh, spec):
        self.mesh, self.spec, self.layout, self.config = mesh, spec, form['layout'], config
        self.given = (('batch', 'height', 'width', 'channels'), ('batch',))

    def read(self, folder, i, batch):
        c = self.config
        images = np.fromfile(folder / f'images.{i}', 'u1').reshape(batch, c['height'], c['width'], c['channels'])
        return images, np.fromfile(folder / f'labels.{i}', '<i4')

    def loss(self, params, images, labels, c):
        at = lambda x: lax.with_sharding_constraint(x, NamedSharding(self.mesh, self.spec(self.given[0], self.layout)))
        x = at((images.astype(jnp.float32) / c['brightest']).astype(params['filters.0.kernel'].dtype))
        for i in range(len(c['features'])):
            x = lax.conv_general_dilated(x, params[f'filters.{i}.kernel'], (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
            x = at(nn.relu(x + params[f'filters.{i}.bias']))
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), 'VALID')
        h = nn.relu(jnp.einsum('bhwc,hwcd->bd', x, params['hidden']) + params['hiddenBias'])
        logits = (h @ params['out'] + params['outBias']).astype(jnp.float32)
        return -jnp.take_along_axis(nn.log_softmax(logits), labels[:, None], -1).mean()
